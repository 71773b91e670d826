import type { PromptSource } from "../../core/context_limit.ts";
import type { PromptOrigin } from "../../core/prompt_origin.ts";
import { chatAnswer } from "./chat_answer.ts";
import { chatTools } from "./chat_tools.ts";
import type { GenerationMeter } from "../metrics/generation_meter.ts";
import { checkSize, type OutputConstraint } from "../fields/grammar_fields.ts";
import type { Job } from "../answer/job.ts";
import { isRaisedByTemplate, withoutLateSystem } from "./late_instructions.ts";
import { checkPromptChars, fitMaxTokens } from "../prompt/prompt_limits.ts";
import {
  checkNumSequences,
  type SamplingFields,
  toSamplingParams,
} from "../fields/sampling_fields.ts";
import { requireReady } from "../served_model.ts";
import type { Services } from "../services.ts";
import type { ChatMessage, EncodeChatOptions } from "../text_port.ts";
import type { TemplateVariables, ThinkingFields } from "../fields/thinking_fields.ts";
import type { ToolUse } from "../fields/tool_fields.ts";

/** What of a chat becomes its prompt. */
export interface ChatPrompt {
  readonly messages: readonly ChatMessage[];
  /** How the chat template closes the conversation; absent: with the assistant's turn open. */
  readonly closing?: Pick<EncodeChatOptions, "addGenerationPrompt" | "continueFinalMessage">;
  /** Tools, and who has to be called. */
  readonly use: ToolUse | undefined;
  readonly variables: TemplateVariables;
  /**
   * Whether a template that refuses system messages behind the first turn is given them as the
   * user's: agents send them to every model.
   */
  readonly foldsLateSystem?: true;
  /** The field that holds the conversation, for refusals. */
  readonly source: PromptSource;
}

/** A chat in this server's own terms, whichever API it came by. */
export interface Chat extends ChatPrompt {
  /** Fields with the names and meanings of `/v1/chat/completions`. */
  readonly fields: SamplingFields & ThinkingFields;
  /** What its answers have to match. */
  readonly constraint: OutputConstraint | undefined;
  /** Most tokens of an answer; as many as the context leaves where absent. */
  readonly maxTokens: number | null | undefined;
  /** Whether `maxTokens` is a bound that the context may undercut, rather than refuse. */
  readonly isCutToContext?: boolean;
  /** Log-probabilities to report beside the chosen token's; undefined for none at all. */
  readonly numLogprobs: number | undefined;
}

/** The ids of a chat's prompt. */
export async function encodeChat(
  chat: ChatPrompt,
  { text, model, engine }: Pick<Services, "text" | "model" | "engine">,
  numChars: number = numCharsOf(chat),
): Promise<Uint32Array> {
  const { messages, closing, use, variables, source } = chat;
  const { maxModelLen } = requireReady(engine);
  const { maxCharsPerToken } = model;
  checkPromptChars(numChars, source, { maxModelLen, maxCharsPerToken });
  const options = {
    ...closing,
    ...(use === undefined ? {} : { tools: use.templateTools }),
    variables,
  };
  try {
    return await text.encodeChat(messages, options);
  } catch (error) {
    const folds = chat.foldsLateSystem === true && isRaisedByTemplate(error);
    const folded = folds ? withoutLateSystem(messages) : undefined;
    if (folded === undefined) throw error;
    return await text.encodeChat(folded, options);
  }
}

/**
 * Makes a chat ready for the engine: prompt, parameters, grammar, and what writes its answers.
 *
 * @param model the served name to report.
 * @throws {RequestError} for what the model or the server cannot do, naming the field.
 */
export async function chatJob(
  chat: Chat,
  services: Services,
  { model, meter }: { readonly model: string; readonly meter: GenerationMeter },
): Promise<Job> {
  const { fields, use, numLogprobs, source } = chat;
  checkNumSequences(fields, 1, services.limits);
  const tools = use && chatTools(use, chat.constraint, fields, services.tools);
  const constraint = tools === undefined ? chat.constraint : tools.constraint;
  if (constraint !== undefined) checkSize(constraint);
  const { maxModelLen, vocabSize } = requireReady(services.engine);
  const numChars = numCharsOf(chat);
  const prompt = await meter.tokenize(() => encodeChat(chat, services, numChars));
  const maxTokens = fitMaxTokens(prompt.length, source, maxModelLen, {
    maxTokens: chat.isCutToContext === true ? undefined : chat.maxTokens,
    fallback: chat.maxTokens ?? maxModelLen,
  });
  const { text, nextSeed, model: { defaults } } = services;
  const context = { defaults, text, nextSeed, maxTokens, vocabSize, numLogprobs };
  const samples = toSamplingParams(fields, context);
  const hasLogprobs = numLogprobs !== undefined;
  const options = { prompt, vocabSize, hasLogprobs, tools, constraint };
  const { choiceWriter, params: more, ...grammar } = await meter.compile(() =>
    chatAnswer(fields, services, options)
  );
  const sequences = samples.map((one) => ({ prompt, params: { ...one, ...more }, ...grammar }));
  // The rest of a message is no start of a text, so a space before it is kept.
  const continued = {
    ...choiceWriter,
    continuesPrompt: chat.closing?.continueFinalMessage ?? false,
  };
  const origin = originOf(chat, numChars);
  return {
    model,
    request: fields,
    prompts: [prompt],
    origin,
    sequences,
    choiceWriter: continued,
    meter,
  };
}

/** What the prompt of a chat is made of. */
function originOf({ messages, use, variables }: Chat, numChars: number): PromptOrigin {
  const tools = use?.templateTools;
  return { messages, variables, numChars, ...(tools === undefined ? {} : { tools }) };
}

/** Characters that the prompt has at least: those of all contents, calls and tools. */
function numCharsOf({ messages, use }: ChatPrompt): number {
  const tools: readonly unknown[] = use?.templateTools ?? [];
  const calls = messages.flatMap(({ tool_calls = [] }) => tool_calls);
  const contents = messages.reduce((sum, { content }) => sum + content.length, 0);
  return contents +
    [...calls, ...tools].reduce<number>((sum, one) => sum + JSON.stringify(one).length, 0);
}
