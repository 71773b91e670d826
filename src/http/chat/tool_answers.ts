import type { ToolParser, ToolPiece } from "../../core/tool_parser.ts";
import type { Choice, ChoiceWriter, WholeText } from "../answer/choice_writer.ts";
import type { SequenceFinish, TextPiece } from "../answer/sequence_text.ts";

/** How the text of an answer becomes calls. */
export interface ToolAnswerOptions {
  readonly createParser: () => ToolParser;
  /** What calls end with; OpenAI reports `stop` for a call of the one tool that was named. */
  readonly finishReason: "tool_calls" | "stop";
  readonly createCallId: () => string;
}

/** One choice as it grows. */
interface Growing {
  readonly parser: ToolParser;
  numCalls: number;
}

/**
 * A chat's answers with the calls in them taken out of the text: `message.tool_calls`, or deltas of
 * which each call's first has its id, type and name.
 */
export function withToolCalls(writer: ChoiceWriter, options: ToolAnswerOptions): ChoiceWriter {
  const growing = new Map<number, Growing>();
  function growingOf(index: number): Growing {
    const known = growing.get(index);
    if (known !== undefined) return known;
    const made = { parser: options.createParser(), numCalls: 0 };
    growing.set(index, made);
    return made;
  }
  function finishOf(finish: SequenceFinish, numCalls: number): SequenceFinish | ToolFinish {
    if (numCalls === 0 || finish.reason !== "stop") return finish;
    return { ...finish, reason: options.finishReason };
  }
  return {
    ...writer,
    readsSpecialTokens: true,
    textChoices(piece) {
      const choice = growingOf(piece.index);
      const { parser } = choice;
      const pieces = [...parser.push(piece.text), ...(piece.finish ? parser.flush() : [])];
      const deltas = pieces.flatMap((one) => deltasOf(one, choice, options));
      return choicesOf(writer, piece, deltas);
    },
    finishChoice(index, finish) {
      const ended = finishOf(finish, growingOf(index).numCalls);
      return writer.finishChoice(index, ended as SequenceFinish);
    },
    wholeChoice(whole) {
      const parser = options.createParser();
      const pieces = [...parser.push(whole.text), ...parser.flush()];
      return wholeWith(writer, whole, pieces, options, finishOf);
    },
  };
}

/** A finish as only answers with calls have it. */
interface ToolFinish {
  readonly reason: "tool_calls" | "stop";
  readonly stopReason: string | number | null;
}

type Delta = Readonly<Record<string, unknown>>;

function deltasOf(piece: ToolPiece, choice: Growing, options: ToolAnswerOptions): Delta[] {
  if (piece.type === "text") return [{ content: piece.text }];
  const index = choice.numCalls++;
  const named = { name: piece.name, arguments: "" };
  const id = options.createCallId();
  return [
    { tool_calls: [{ index, id, type: "function", function: named }] },
    { tool_calls: [{ index, function: { arguments: piece.arguments } }] },
  ];
}

/**
 * The deltas of a piece as choices, the first of them with the piece's log-probabilities and ids;
 * without a delta, they come in one of their own.
 */
function choicesOf(writer: ChoiceWriter, piece: TextPiece, deltas: readonly Delta[]): Choice[] {
  const hasMore = piece.scored.length > 0 || (writer.sendsTokenIds && piece.tokenIds.length > 0);
  if (deltas.length === 0 && !hasMore) return [];
  const silent = { ...piece, text: "", tokenIds: [], scored: [] };
  return (deltas.length === 0 ? [{}] : deltas).flatMap((delta, i) => {
    const plain = writer.textChoices({ ...(i === 0 ? piece : silent), text: " " });
    return plain.map((choice) => ({ ...choice, delta }));
  });
}

function wholeWith(
  writer: ChoiceWriter,
  whole: WholeText,
  pieces: readonly ToolPiece[],
  { createCallId }: ToolAnswerOptions,
  finishOf: (finish: SequenceFinish, numCalls: number) => SequenceFinish | ToolFinish,
): Choice {
  const text = pieces.map((piece) => piece.type === "text" ? piece.text : "").join("");
  const calls = pieces.filter((piece) => piece.type === "call");
  const finish = finishOf(whole.finish, calls.length) as SequenceFinish;
  const choice = writer.wholeChoice({ ...whole, text, finish });
  if (calls.length === 0) return choice;
  const tool_calls = calls.map(({ name, arguments: given }) => ({
    id: createCallId(),
    type: "function",
    function: { name, arguments: given },
  }));
  const message = choice.message as Readonly<Record<string, unknown>>;
  return { ...choice, message: { ...message, content: text === "" ? null : text, tool_calls } };
}
