import type { CompiledGrammar } from "../core/compiled_grammar.ts";
import type { AnswerFormat } from "./answer_format.ts";
import { chatFormat } from "./chat_format.ts";
import type { ChatRequest } from "./chat_schema.ts";
import type { ChatTools } from "./chat_tools.ts";
import type { AskedFormat } from "./grammar_fields.ts";
import type { Services } from "./services.ts";
import { withThinking } from "./thinking_answers.ts";
import { afterThinking, thinkingStart } from "./thinking_fields.ts";

/** What is known of a chat's answers once its prompt is. */
export interface ChatAnswerOptions {
  readonly prompt: Uint32Array;
  readonly hasLogprobs: boolean;
  readonly tools: ChatTools | undefined;
  /** What the answers have to match. */
  readonly asked: AskedFormat | undefined;
}

/**
 * How a chat's answers are shaped, from the text to the chunk: thoughts are taken out first, then
 * calls; and the grammar that their tokens follow, which begins behind the thoughts.
 *
 * @throws {RequestError} when no grammar holds what is asked for.
 */
export async function chatAnswer(
  request: ChatRequest,
  { text, model, grammars }: Pick<Services, "text" | "model" | "grammars">,
  { prompt, hasLogprobs, tools, asked }: ChatAnswerOptions,
): Promise<{ readonly format: AnswerFormat; readonly grammar?: CompiledGrammar }> {
  const { thinking } = model;
  const ids = request.return_token_ids === true ? { promptTokenIds: prompt } : {};
  const plain = chatFormat({ text, hasLogprobs, ...ids });
  const called = tools?.wrap(plain) ?? plain;
  if (thinking === undefined) {
    return { format: called, ...await compiled(grammars, asked) };
  }
  const start = thinkingStart(prompt, text, thinking);
  const isShown = request.include_reasoning ?? true;
  const format = withThinking(called, { marks: thinking, start, plain, isShown });
  const behind = asked && { ...asked, format: afterThinking(asked.format, thinking, start) };
  return { format, ...await compiled(grammars, behind) };
}

async function compiled(grammars: Services["grammars"], asked: AskedFormat | undefined) {
  return asked === undefined ? {} : { grammar: await grammars.compile(asked.format, asked.param) };
}
