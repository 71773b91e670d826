import type { CompiledGrammar } from "../../core/compiled_grammar.ts";
import type { SamplingParams } from "../../core/sampling_params.ts";
import type { ChoiceWriter } from "../answer/choice_writer.ts";
import { chatChoices } from "../openai/chat_choices.ts";
import type { ChatTools } from "./chat_tools.ts";
import { compileConstraint, type OutputConstraint } from "../fields/grammar_fields.ts";
import type { SamplingFields } from "../fields/sampling_fields.ts";
import type { Services } from "../services.ts";
import { withThinking } from "./thinking_answers.ts";
import {
  afterThinking,
  thinkingBudgetOf,
  type ThinkingFields,
  thinkingStart,
} from "../fields/thinking_fields.ts";

/** What is known of a chat's answers once its prompt is. */
export interface ChatAnswerOptions {
  readonly prompt: Uint32Array;
  readonly vocabSize: number;
  readonly hasLogprobs: boolean;
  readonly tools: ChatTools | undefined;
  /** What the answers have to match. */
  readonly constraint: OutputConstraint | undefined;
}

/** How a chat is answered. */
export interface ChatAnswer {
  readonly choiceWriter: ChoiceWriter;
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
  { prompt, vocabSize, hasLogprobs, tools, constraint }: ChatAnswerOptions,
): Promise<ChatAnswer> {
  const { thinking } = model;
  const start = thinking === undefined ? "behind" : thinkingStart(prompt, text, thinking);
  const params = await thinkingBudgetOf(request, thinking, { start, text, vocabSize });
  const ids = request.return_token_ids === true ? { promptTokenIds: prompt } : {};
  const plain = chatChoices({ text, hasLogprobs, ...ids });
  const called = tools?.wrap(plain) ?? plain;
  if (thinking === undefined) {
    return { choiceWriter: called, params, ...await compileConstraint(constraint, grammars) };
  }
  const isShown = request.include_reasoning ?? true;
  const choiceWriter = withThinking(called, { marks: thinking, start, plain, isShown });
  const behind = constraint &&
    { ...constraint, format: afterThinking(constraint.format, thinking, start) };
  return { choiceWriter, params, ...await compileConstraint(behind, grammars) };
}
