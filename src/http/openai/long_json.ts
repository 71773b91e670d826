import type { Context } from "hono";

/** Characters written at once: some milliseconds of work. */
const CHUNK_CHARS = 2 ** 16;

/** Elements written at once. */
const CHUNK_ELEMENTS = 4096;

/** An array whose elements are made as they are written. */
export class LongList {
  /** @param elementAt the element at an index, as JSON takes it. */
  constructor(readonly length: number, readonly elementAt: (index: number) => unknown) {}
}

/**
 * Answers with an object that may hold very long texts and {@link LongList}s, written in pieces;
 * between two pieces, other requests are handled.
 */
export function longJson(c: Context, fields: Readonly<Record<string, unknown>>): Response {
  const chunks = inChunks(pieces(fields));
  const headers = { "content-type": "application/json" };
  const first = chunks.next().value ?? "";
  const second = chunks.next();
  if (second.done) return c.body(first, 200, headers);
  return c.body(ReadableStream.from(spread([first, second.value], chunks)), 200, headers);
}

async function* spread(
  made: readonly string[],
  rest: Iterable<string>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  for (const chunk of made) yield encoder.encode(chunk);
  for (const chunk of rest) {
    yield encoder.encode(chunk);
    // Waits for a turn of the event loop: a reader in this isolate asks for the next chunk at once.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** Joins short pieces, so that few chunks are sent. */
function* inChunks(pieces: Iterable<string>): Generator<string, undefined> {
  let chunk = "";
  for (const piece of pieces) {
    chunk += piece;
    if (chunk.length < CHUNK_CHARS) continue;
    yield chunk;
    chunk = "";
  }
  if (chunk !== "") yield chunk;
}

function* pieces(fields: Readonly<Record<string, unknown>>): Generator<string> {
  let separator = "{";
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    yield `${separator}${JSON.stringify(name)}:`;
    separator = ",";
    if (value instanceof LongList) yield* listPieces(value);
    else if (typeof value === "string") yield* textPieces(value);
    else yield JSON.stringify(value);
  }
  yield separator === "{" ? "{}" : "}";
}

function* listPieces({ length, elementAt }: LongList): Generator<string> {
  yield "[";
  for (let at = 0; at < length; at += CHUNK_ELEMENTS) {
    const count = Math.min(CHUNK_ELEMENTS, length - at);
    const elements = JSON.stringify(Array.from({ length: count }, (_, i) => elementAt(at + i)));
    yield `${at === 0 ? "" : ","}${elements.slice(1, -1)}`;
  }
  yield "]";
}

function* textPieces(text: string): Generator<string> {
  yield '"';
  // A pair of surrogates that is cut stands as two escapes, which are the same character.
  for (let at = 0; at < text.length; at += CHUNK_CHARS) {
    yield JSON.stringify(text.slice(at, at + CHUNK_CHARS)).slice(1, -1);
  }
  yield '"';
}
