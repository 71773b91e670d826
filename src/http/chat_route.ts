import type { Handler } from "hono";
import { answer } from "./answer.ts";
import { chatAnswer } from "./chat_answer.ts";
import {
  ChatRequest,
  numChatLogprobs,
  toChatMessages,
  toEncodeChatOptions,
} from "./chat_schema.ts";
import { chatTools } from "./chat_tools.ts";
import type { SequenceRequest } from "../core/generation.ts";
import { GenerationMeter } from "./generation_meter.ts";
import { checkSize, formatOf } from "./grammar_fields.ts";
import { maxTokensOf } from "./length_fields.ts";
import { readoutOf, withPromptLogprobs } from "./prompt_readings.ts";
import { checkPromptChars, fitMaxTokens } from "./prompt_limits.ts";
import { readJson } from "./read_json.ts";
import {
  checkNumSequences,
  checkStreamOptions,
  promptLogprobsOf,
  toSamplingParams,
} from "./sampling_fields.ts";
import { requireReady, servedName } from "./served_model.ts";
import type { ChatMessage, Services } from "./services.ts";
import { templateVariablesOf } from "./thinking_fields.ts";
import { toolUseOf } from "./tool_fields.ts";
import { UNSUPPORTED_IN_CHAT } from "./unsupported_fields.ts";

/**
 * `POST /v1/chat/completions`. The content of a message is text, even where it spells a control
 * token such as `<|im_end|>`: only the model's chat template writes control tokens.
 */
export function chatRoute(services: Services): Handler {
  const { engine, text, metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    const request = await readJson(c, ChatRequest, UNSUPPORTED_IN_CHAT);
    const model = servedName(request.model, services.model);
    checkStreamOptions(request);
    checkNumSequences(request, 1, services.limits);
    const numLogprobs = numChatLogprobs(request);
    const listed = promptLogprobsOf(request);
    const messages = toChatMessages(request.messages);
    const use = toolUseOf(request);
    const tools = use && chatTools(use, formatOf(request), request, services.tools);
    const asked = tools === undefined ? formatOf(request) : tools.asked;
    if (asked !== undefined) checkSize(asked);
    const encodeOptions = {
      ...toEncodeChatOptions(request, messages),
      ...(use === undefined ? {} : { tools: use.templateTools }),
      variables: templateVariablesOf(request, services.model),
    };

    const { maxModelLen, vocabSize } = requireReady(engine);
    const { maxCharsPerToken, defaults } = services.model;
    checkPromptChars(numCharsOf(messages, use?.templateTools), "messages", {
      maxModelLen,
      maxCharsPerToken,
    });
    const prompt = await text.encodeChat(messages, encodeOptions);
    const maxTokens = fitMaxTokens(prompt.length, "messages", maxModelLen, {
      maxTokens: maxTokensOf(request),
      fallback: maxModelLen,
    });

    const samples = toSamplingParams(request, {
      defaults,
      text,
      nextSeed: services.nextSeed,
      maxTokens,
      vocabSize,
      numLogprobs,
    });
    const hasLogprobs = numLogprobs !== undefined;
    const options = { prompt, vocabSize, hasLogprobs, tools, asked };
    const { format, params: more, ...grammar } = await chatAnswer(request, services, options);
    const readout = listed === undefined ? undefined : readoutOf({ listed });
    // One sample reads the prompt for all of them.
    const sequences = samples.map((one, i): SequenceRequest => ({
      ...{ prompt, params: { ...one, ...more }, ...grammar },
      ...(i === 0 && readout !== undefined ? { readout } : {}),
    }));
    return await answer(c, services, {
      model,
      request,
      prompts: [prompt],
      sequences,
      format: listed === undefined ? format : withPromptLogprobs(format, { text, prompt, listed }),
      meter,
    });
  };
}

/** Characters that the prompt has at least: those of all contents, calls and tools. */
function numCharsOf(messages: readonly ChatMessage[], tools: readonly unknown[] = []): number {
  const calls = messages.flatMap(({ tool_calls = [] }) => tool_calls);
  const contents = messages.reduce((sum, { content }) => sum + content.length, 0);
  return contents +
    [...calls, ...tools].reduce<number>((sum, one) => sum + JSON.stringify(one).length, 0);
}
