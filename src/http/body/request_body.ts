import { STATUS_CODE } from "@std/http";
import type { Context, MiddlewareHandler } from "hono";
import { RequestError } from "../../core/errors.ts";
import { contentCoding, unpack } from "./content_encoding.ts";
import { JsonCost } from "./json_cost.ts";

/** Bounds of request bodies. */
export interface BodyLimits {
  /** Largest body accepted, in bytes. */
  readonly maxBodyBytes: number;
  /** Most bytes of unfinished bodies, all requests together. */
  readonly maxUnfinishedBytes: number;
  /** Most that a body may cost to parse, in units of {@link JsonCost}. */
  readonly maxJsonCost: number;
  /** Time for a body to arrive whole, in ms. */
  readonly bodyTimeoutMs: number;
}

/** Name under which a request's context keeps the reader of its body. */
const BODIES = "bodies";

const FIRST_CAPACITY = 16 * 2 ** 10;

/** Bounds the bodies of all requests together. */
export function boundBodies(limits: BodyLimits): MiddlewareHandler {
  const bodies = new RequestBodies(limits);
  return async (c, next) => {
    c.set(BODIES, bodies);
    await next();
  };
}

/**
 * Reads the body of a request whole, as a text that is to be JSON; the limits are those of the body
 * once it is unpacked.
 *
 * @throws {RequestError} 413 for a body beyond the limits of bytes or of values, 408 for one that
 * takes too long, 503 for the largest one where all unfinished bodies together are too many, 415
 * for an unknown `Content-Encoding`, 400 for one that breaks off or is not what that says.
 */
export async function readBodyText(c: Context): Promise<string> {
  const bodies: RequestBodies = c.get(BODIES);
  const length = Number(c.req.header("content-length") ?? 0);
  return new TextDecoder().decode(await bodies.read(c.req.raw.body, length, contentCoding(c)));
}

/** The request bodies that are being read. */
export class RequestBodies {
  readonly #limits: BodyLimits;
  readonly #open = new Set<UnfinishedBody>();
  #numBytes = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /** Bytes held of unfinished bodies. */
  get numBytes(): number {
    return this.#numBytes;
  }

  /**
   * Reads one body; `length` is what its header announces, `coding` how it is packed. Errors as in
   * {@link readBodyText}.
   */
  async read(
    stream: ReadableStream<Uint8Array> | null,
    length: number,
    coding?: string,
  ): Promise<Uint8Array> {
    const { maxBodyBytes, maxJsonCost, bodyTimeoutMs } = this.#limits;
    if (length > maxBodyBytes) throw tooLarge(maxBodyBytes);
    if (stream === null) return new Uint8Array();
    const plain = coding === undefined ? stream : unpack(stream, coding);
    const body = new UnfinishedBody(plain.getReader());
    const timer = setTimeout(() => this.#refuse(body, tooSlow(bodyTimeoutMs)), bodyTimeoutMs);
    this.#open.add(body);
    try {
      for (;;) {
        const chunk = await body.next();
        if (chunk === undefined) return body.bytes;
        body.cost.add(chunk);
        const isTooLarge = body.numBytes + chunk.byteLength > maxBodyBytes;
        if (isTooLarge) this.#refuse(body, tooLarge(maxBodyBytes, coding));
        else if (body.cost.total > maxJsonCost) this.#discard(body, chunk);
        else this.#append(body, chunk);
      }
    } finally {
      clearTimeout(timer);
      this.#open.delete(body);
      this.#numBytes -= body.capacity;
    }
  }

  #refuse(body: UnfinishedBody, error: RequestError): void {
    this.#numBytes -= body.capacity;
    body.refuse(error);
  }

  /** The body is within the bound of bytes, so it is read to its end and then refused. */
  #discard(body: UnfinishedBody, chunk: Uint8Array): void {
    this.#numBytes -= body.capacity;
    body.discard(chunk.byteLength, tooManyValues(this.#limits.maxJsonCost));
  }

  #append(body: UnfinishedBody, chunk: Uint8Array): void {
    this.#numBytes -= body.capacity;
    body.append(chunk);
    this.#numBytes += body.capacity;
    if (this.#numBytes <= this.#limits.maxUnfinishedBytes) return;
    const sizes = [...this.#open].map((open) => open.capacity);
    const largest = [...this.#open][sizes.indexOf(Math.max(...sizes))]!;
    this.#refuse(largest, tooMany(this.#limits.maxUnfinishedBytes));
  }
}

/**
 * The part of a body that has arrived, in one buffer: a view per chunk would take more memory than
 * a small chunk.
 */
class UnfinishedBody {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #buffer = new Uint8Array();
  #refusal: RequestError | undefined;
  #discardedFor: RequestError | undefined;
  readonly cost = new JsonCost();
  numBytes = 0;

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#reader = reader;
  }

  /** Bytes of memory that it takes. */
  get capacity(): number {
    return this.#buffer.byteLength;
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.numBytes);
  }

  /** The next chunk, or undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    const { value } = await this.#read();
    if (this.#refusal !== undefined) throw this.#refusal;
    if (value === undefined && this.#discardedFor !== undefined) throw this.#discardedFor;
    return value;
  }

  append(chunk: Uint8Array): void {
    if (this.#refusal !== undefined) return;
    const size = this.numBytes + chunk.byteLength;
    if (size > this.capacity) {
      const larger = new Uint8Array(Math.max(size, 2 * this.capacity, FIRST_CAPACITY));
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.numBytes);
    this.numBytes = size;
  }

  /** Drops the body's bytes; reading it to its end gives `error`. */
  discard(numBytes: number, error: RequestError): void {
    this.#discardedFor ??= error;
    this.#buffer = new Uint8Array();
    this.numBytes += numBytes;
  }

  /** Gives the body up: its memory is released now, and its reader gets `error`. */
  refuse(error: RequestError): void {
    this.#refusal ??= error;
    this.#buffer = new Uint8Array();
    this.numBytes = 0;
    // Settles a read that waits for a client which may never send more.
    this.#reader.cancel(error).catch(() => {});
  }

  async #read(): Promise<{ readonly value: Uint8Array | undefined }> {
    try {
      const { value } = await this.#reader.read();
      return { value };
    } catch (cause) {
      if (this.#refusal !== undefined) throw this.#refusal;
      if (cause instanceof RequestError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new RequestError(`The body ended early: ${reason}`, { code: "invalid_body" });
    }
  }
}

function tooLarge(maxBytes: number, coding?: string): RequestError {
  const unpacked = coding === undefined ? "" : ` when its ${coding} is unpacked`;
  return new RequestError(`The body must be at most ${maxBytes} bytes${unpacked}`, {
    status: STATUS_CODE.ContentTooLarge,
    code: "request_too_large",
  });
}

function tooManyValues(maxCost: number): RequestError {
  return new RequestError(
    `The body has too many values: at most ${maxCost} elements of arrays, where each array counts as ` +
      "4, each object as 8 and each field as 16",
    { status: STATUS_CODE.ContentTooLarge, code: "request_too_large" },
  );
}

function tooSlow(ms: number): RequestError {
  return new RequestError(`The body must arrive within ${ms / 1000} s`, {
    status: STATUS_CODE.RequestTimeout,
    code: "request_timeout",
  });
}

function tooMany(maxBytes: number): RequestError {
  return new RequestError(
    `The server holds ${maxBytes} bytes of unfinished request bodies, its limit, and gives up the ` +
      "largest, which is this one; try again",
    { status: STATUS_CODE.ServiceUnavailable, type: "server_error", code: "bodies_exceeded" },
  );
}
