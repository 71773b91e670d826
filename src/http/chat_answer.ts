import type { CompiledGrammar } from "../core/compiled_grammar.ts";
import type { SamplingParams } from "../core/sampling_params.ts";
import type { AnswerFormat } from "./answer_format.ts";
import { chatFormat } from "./chat_format.ts";
import type { ChatTools } from "./chat_tools.ts";
import { type AskedFormat, compileAsked } from "./grammar_fields.ts";
import type { SamplingFields } from "./sampling_fields.ts";
import type { Services } from "./services.ts";
import { withThinking } from "./thinking_answers.ts";
import {
  afterThinking,
  thinkingBudgetOf,
  type ThinkingFields,
  thinkingStart,
} from "./thinking_fields.ts";

/** What is known of a chat's answers once its prompt is. */
export interface ChatAnswerOptions {
  readonly prompt: Uint32Array;
  readonly vocabSize: number;
  readonly hasLogprobs: boolean;
  readonly tools: ChatTools | undefined;
  /** What the answers have to match. */
  readonly asked: AskedFormat | undefined;
}

/** How a chat is answered. */
export interface ChatAnswer {
  readonly format: AnswerFormat;
  readonly grammar?: CompiledGrammar;
  /** Parameters of its sequences beyond those of all requests. */
  readonly params: Pick<SamplingParams, "thinkingBudget">;
}

/**
 * How a chat's answers are shaped, from the text to the chunk: thoughts are taken out first, then
 * calls; and the grammar that their tokens follow, which begins behind the thoughts.
 *
 * @throws {RequestError} when no grammar holds what is asked for, and for a budget of thoughts that
 * the model does not have.
 */
export async function chatAnswer(
  request: SamplingFields & ThinkingFields,
  { text, model, grammars }: Pick<Services, "text" | "model" | "grammars">,
  { prompt, vocabSize, hasLogprobs, tools, asked }: ChatAnswerOptions,
): Promise<ChatAnswer> {
  const { thinking } = model;
  const start = thinking === undefined ? "behind" : thinkingStart(prompt, text, thinking);
  const params = await thinkingBudgetOf(request, thinking, { start, text, vocabSize });
  const ids = request.return_token_ids === true ? { promptTokenIds: prompt } : {};
  const plain = chatFormat({ text, hasLogprobs, ...ids });
  const called = tools?.wrap(plain) ?? plain;
  if (thinking === undefined) {
    return { format: called, params, ...await compileAsked(asked, grammars) };
  }
  const isShown = request.include_reasoning ?? true;
  const format = withThinking(called, { marks: thinking, start, plain, isShown });
  const behind = asked && { ...asked, format: afterThinking(asked.format, thinking, start) };
  return { format, params, ...await compileAsked(behind, grammars) };
}
