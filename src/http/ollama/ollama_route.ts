import type { Handler } from "hono";
import { answer } from "../answer/answer.ts";
import { chatChoices } from "../openai/chat_choices.ts";
import { type Chat, chatJob } from "../chat/chat_job.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { compileConstraint } from "../fields/grammar_fields.ts";
import type { Job } from "../answer/job.ts";
import { checkPromptChars, fitMaxTokens } from "../prompt/prompt_limits.ts";
import { readJson } from "../body/read_json.ts";
import { toSamplingParams } from "../fields/sampling_fields.ts";
import { requireReady } from "../served_model.ts";
import type { Services } from "../services.ts";
import { chatOf, generateChatOf, parametersOf } from "./ollama_chat.ts";
import { ollamaModel } from "./ollama_models.ts";
import {
  OllamaChatRequest,
  OllamaGenerateRequest,
  UNSUPPORTED_IN_OLLAMA,
} from "./ollama_schema.ts";
import { loadedAnswer, type OllamaKind, ollamaWriter } from "./ollama_writer.ts";

/** Programs written for Ollama's documented calls send JSON under curl's own type. */
const READ_OPTIONS = { takesForms: true };

/** `POST /api/chat`: streamed unless `stream` is false. */
export function ollamaChatRoute(services: Services): Handler {
  const { metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    const request = await readJson(c, OllamaChatRequest, UNSUPPORTED_IN_OLLAMA, READ_OPTIONS);
    const model = ollamaModel(request.model, services.model);
    if ((request.messages ?? []).length === 0) {
      requireReady(services.engine);
      return c.json(loadedAnswer("chat", model));
    }
    const chat = chatOf(request, services);
    const job = await chatJob(chat, services, { model, meter });
    return await answer(c, services, withOllamaWriter(job, "chat"));
  };
}

/** `POST /api/generate`: a prompt through the model's template, or with `raw` as it is. */
export function ollamaGenerateRoute(services: Services): Handler {
  const { metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    const request = await readJson(c, OllamaGenerateRequest, UNSUPPORTED_IN_OLLAMA, READ_OPTIONS);
    const model = ollamaModel(request.model, services.model);
    if ((request.prompt ?? "") === "") {
      requireReady(services.engine);
      return c.json(loadedAnswer("generate", model));
    }
    const job = request.raw === true
      ? await rawJob(request.prompt!, parametersOf(request, services), services, { model, meter })
      : await chatJob(generateChatOf(request, services), services, { model, meter });
    return await answer(c, services, withOllamaWriter(job, "generate"));
  };
}

function withOllamaWriter({ choiceWriter, ...job }: Job, kind: OllamaKind): Job {
  return {
    ...job,
    choiceWriter: { ...choiceWriter, idPrefix: "ollama-" },
    responseWriter: ollamaWriter(kind),
  };
}

/** A prompt as it is, which the answer goes on from. */
async function rawJob(
  prompt: string,
  { fields, constraint, maxTokens: wanted, numLogprobs }: Pick<
    Chat,
    "fields" | "constraint" | "maxTokens" | "numLogprobs"
  >,
  { engine, text, model: served, grammars, nextSeed }: Services,
  { model, meter }: Pick<Job, "model" | "meter">,
): Promise<Job> {
  const { maxModelLen, vocabSize } = requireReady(engine);
  const { maxCharsPerToken, defaults } = served;
  checkPromptChars(prompt.length, "prompt", { maxModelLen, maxCharsPerToken });
  const [ids] = await meter.tokenize(() => text.encode([prompt]));
  const fallback = wanted ?? maxModelLen;
  const room = { maxTokens: undefined, fallback };
  const maxTokens = fitMaxTokens(ids!.length, "prompt", maxModelLen, room);
  const grammar = await meter.compile(() => compileConstraint(constraint, grammars));
  const context = { defaults, text, nextSeed, maxTokens, vocabSize, numLogprobs };
  const sequences = toSamplingParams(fields, context).map((params) => ({
    prompt: ids!,
    params,
    ...grammar,
  }));
  const choiceWriter = chatChoices({ text, hasLogprobs: numLogprobs !== undefined });
  return {
    model,
    request: fields,
    prompts: [ids!],
    sequences,
    choiceWriter: { ...choiceWriter, continuesPrompt: true },
    meter,
  };
}
