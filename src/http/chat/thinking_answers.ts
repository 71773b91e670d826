import type { Choice, ChoiceWriter } from "../answer/choice_writer.ts";
import type { ThinkingPiece } from "./thinking_parser.ts";
import { type ThinkingMarks, ThinkingParser, type ThinkingStart } from "./thinking_parser.ts";

/** How the thoughts in an answer are told from its text. */
export interface ThinkingAnswerOptions {
  readonly marks: ThinkingMarks;
  readonly start: ThinkingStart;
  /** The writer without tools, for the choices that carry thoughts. */
  readonly plain: ChoiceWriter;
  /** Whether thoughts are part of the answer at all. */
  readonly isShown: boolean;
}

/**
 * A chat's answers with the model's thoughts apart from the text: `reasoning_content`, as DeepSeek
 * and most clients have it, and the same under vLLM's name `reasoning`.
 */
export function withThinking(writer: ChoiceWriter, options: ThinkingAnswerOptions): ChoiceWriter {
  const { marks, start, plain, isShown } = options;
  const parsers = new Map<number, ThinkingParser>();
  function parserOf(index: number): ThinkingParser {
    const known = parsers.get(index) ?? new ThinkingParser(marks, start);
    parsers.set(index, known);
    return known;
  }
  const observers = new Map<number, ThinkingParser>();
  let numReasoning = 0;
  return {
    ...writer,
    observe({ index, text, tokenIds }) {
      const observer = observers.get(index) ?? new ThinkingParser(marks, start);
      observers.set(index, observer);
      const wasThinking = observer.isThinking;
      observer.push(text);
      if (wasThinking || observer.isThinking) numReasoning += tokenIds.length;
    },
    numReasoningTokens: () => numReasoning,
    textChoices(piece) {
      const parser = parserOf(piece.index);
      const parts = [...parser.push(piece.text), ...(piece.finish ? parser.flush() : [])];
      const thought = reasoningOf(parts);
      const choices: Choice[] = [];
      if (thought !== "" && isShown) {
        const silent = { index: piece.index, text: " ", tokenIds: [], scored: [] };
        const [template] = plain.textChoices(silent);
        const delta = { reasoning_content: thought, reasoning: thought };
        if (template !== undefined) choices.push({ ...template, delta });
      }
      return [...choices, ...writer.textChoices({ ...piece, text: textOf(parts) })];
    },
    wholeChoice(whole) {
      const parser = new ThinkingParser(marks, start);
      const parts = [...parser.push(whole.text), ...parser.flush()];
      const choice = writer.wholeChoice({ ...whole, text: textOf(parts) });
      const thought = reasoningOf(parts);
      if (thought === "" || !isShown) return choice;
      const message = choice.message as Readonly<Record<string, unknown>>;
      return { ...choice, message: { ...message, reasoning_content: thought, reasoning: thought } };
    },
  };
}

function reasoningOf(parts: readonly ThinkingPiece[]): string {
  return parts.map(({ type, text }) => type === "reasoning" ? text : "").join("");
}

function textOf(parts: readonly ThinkingPiece[]): string {
  return parts.map(({ type, text }) => type === "text" ? text : "").join("");
}
