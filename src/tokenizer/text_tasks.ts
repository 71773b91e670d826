import type { EncodeOptions } from "./encoder.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** What a text task may cost. */
export interface TextLimits {
  /** Time for the whole task, ms. */
  readonly deadlineMs: number;
  /** Longest text that ids may be turned into, UTF-16 code units. */
  readonly maxChars: number;
}

/** Texts to ids, or ids to texts; data, since it goes to a Worker. */
export type TextTask =
  & { readonly limits: TextLimits }
  & (
    | {
      readonly type: "encode";
      readonly texts: readonly string[];
      readonly options: Omit<EncodeOptions, "onProgress">;
    }
    | { readonly type: "decode"; readonly batch: readonly Uint32Array[] }
  );

/** How a text task ended; data, since it comes from a Worker. */
export type TextOutcome =
  | { readonly type: "encoded"; readonly ids: readonly Uint32Array<ArrayBuffer>[] }
  | { readonly type: "decoded"; readonly texts: readonly string[] }
  /** `limit`: it would cost too much. */
  | { readonly type: "limit"; readonly message: string };

/** Ids that are turned into text between two checks of the clock. */
const DECODE_CHUNK = 8192;

/** Ends a task from within; becomes an outcome in {@link runTextTask}. */
class LimitError extends Error {}

/**
 * Does a text task, and stops at its limits.
 *
 * @param clock monotonic time, ms.
 */
export function runTextTask(
  tokenizer: Tokenizer,
  task: TextTask,
  clock: () => number = () => performance.now(),
): TextOutcome {
  const { deadlineMs, maxChars } = task.limits;
  const deadline = clock() + deadlineMs;
  const checkTime = () => {
    if (clock() > deadline) throw new LimitError(`takes longer than ${deadlineMs} ms`);
  };
  try {
    if (task.type === "encode") {
      const options = { ...task.options, onProgress: checkTime };
      return { type: "encoded", ids: task.texts.map((text) => tokenizer.encode(text, options)) };
    }
    let left = maxChars;
    const texts = task.batch.map((ids) => {
      const text = decode(tokenizer, ids, (numChars) => {
        checkTime();
        if (numChars > left) throw new LimitError(`makes a text of over ${maxChars} characters`);
      });
      left -= text.length;
      return text;
    });
    return { type: "decoded", texts };
  } catch (error) {
    if (!(error instanceof LimitError)) throw error;
    return { type: "limit", message: error.message };
  }
}

/** Text of ids, made chunk by chunk; `check` gets the number of characters so far. */
function decode(
  tokenizer: Tokenizer,
  ids: Uint32Array,
  check: (numChars: number) => void,
): string {
  const detokenizer = tokenizer.createDetokenizer();
  const parts: string[] = [];
  let numChars = 0;
  for (let at = 0; at < ids.length; at += DECODE_CHUNK) {
    const part = detokenizer.push(ids.subarray(at, at + DECODE_CHUNK));
    numChars += part.length;
    check(numChars);
    parts.push(part);
  }
  return parts.join("") + detokenizer.flush();
}
