import { STATUS_CODE } from "@std/http";
import type { Handler } from "hono";
import { RequestError } from "../../core/errors.ts";
import { answer } from "../answer/answer.ts";
import { chatJob, encodeChat } from "../chat/chat_job.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { quoted } from "../refusals.ts";
import { readJson } from "../body/read_json.ts";
import { servedName } from "../served_model.ts";
import type { Services } from "../services.ts";
import { responsesWriter } from "./response_events.ts";
import { toChat, toPrompt } from "./responses_chat.ts";
import {
  InputTokensRequest,
  ResponsesRequest,
  UNSUPPORTED_IN_RESPONSES,
} from "./responses_schema.ts";

/** `POST /v1/responses`: OpenAI's Responses API without a store. */
export function responsesRoute(services: Services): Handler {
  const { metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    const request = await readJson(c, ResponsesRequest, UNSUPPORTED_IN_RESPONSES);
    const model = servedName(request.model, services.model);
    const chat = toChat(request, services.model);
    const { choiceWriter, ...job } = await chatJob(chat, services, { model, meter });
    return await answer(c, services, {
      ...job,
      choiceWriter: { ...choiceWriter, idPrefix: "resp_" },
      responseWriter: responsesWriter(request),
    });
  };
}

/** `POST /v1/responses/input_tokens`: the length of a prompt, without an answer. */
export function inputTokensRoute(services: Services): Handler {
  return async (c) => {
    const request = await readJson(c, InputTokensRequest, UNSUPPORTED_IN_RESPONSES);
    servedName(request.model, services.model);
    const { length } = await encodeChat(toPrompt(request, services.model), services);
    return c.json({ object: "response.input_tokens", input_tokens: length });
  };
}

/** What asks for a response by its id: there is none, since none is stored. */
export const storedResponseRoute: Handler = (c) => {
  const id = c.req.param("id") ?? "";
  throw new RequestError(
    `The response ${quoted(id)} is not here: this server stores none, whatever store says`,
    { status: STATUS_CODE.NotFound, code: "response_not_found", param: "response_id" },
  );
};
