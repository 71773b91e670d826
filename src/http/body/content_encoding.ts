import { type Duplex, Readable } from "node:stream";
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
} from "node:zlib";
import { STATUS_CODE } from "@std/http";
import type { Context } from "hono";
import { RequestError } from "../../core/errors.ts";
import { quoted } from "../refusals.ts";

/** Most bytes that a decoder hands on at once, so that little is unpacked beyond a limit. */
const CHUNK_BYTES = 64 * 2 ** 10;

/** A window of 8 MiB, which RFC 8878 section 3.1.1.1.2 recommends to support, and no larger one. */
const MAX_ZSTD_WINDOW_LOG = 23;
/** `ZSTD_d_windowLogMax` of zstd's API. */
const ZSTD_WINDOW_LOG_MAX = 100;

/** Decoders by the name of their content coding (RFC 9110 section 8.4.1, RFC 8878). */
const DECODERS: Readonly<Record<string, () => Duplex>> = {
  gzip: () => createGunzip({ chunkSize: CHUNK_BYTES }),
  "x-gzip": () => createGunzip({ chunkSize: CHUNK_BYTES }),
  deflate: () => createInflate({ chunkSize: CHUNK_BYTES }),
  br: () => createBrotliDecompress({ chunkSize: CHUNK_BYTES }),
  zstd: () =>
    createZstdDecompress({
      chunkSize: CHUNK_BYTES,
      params: { [ZSTD_WINDOW_LOG_MAX]: MAX_ZSTD_WINDOW_LOG },
    }),
};

/** The codings that bodies may have, as the header `Accept-Encoding` lists them. */
const ACCEPTED = "gzip, deflate, br, zstd";

/**
 * How a request's body is unpacked, by its header `Content-Encoding`; undefined where it is as it
 * was sent.
 *
 * @throws {RequestError} 415 for a coding that is not known, with those that are.
 */
export function contentCoding(c: Context): string | undefined {
  const coding = c.req.header("content-encoding")?.trim().toLowerCase() ?? "";
  if (coding === "" || coding === "identity") return undefined;
  if (Object.hasOwn(DECODERS, coding)) return coding;
  c.header("accept-encoding", ACCEPTED);
  const got = quoted(coding, 100);
  throw new RequestError(`The content encoding must be one of ${ACCEPTED}, got ${got}`, {
    status: STATUS_CODE.UnsupportedMediaType,
    code: "unsupported_content_encoding",
  });
}

/**
 * A body, unpacked as it is read: what is not read is not unpacked, so a reader that stops at a
 * limit has spent no more than that. Reading fails with a {@link RequestError} where the body is
 * not what the coding says.
 */
export function unpack(
  body: ReadableStream<Uint8Array>,
  coding: string,
): ReadableStream<Uint8Array> {
  return ReadableStream.from(chunksOf(body, coding, DECODERS[coding]!()));
}

async function* chunksOf(
  body: ReadableStream<Uint8Array>,
  coding: string,
  decoder: Duplex,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  // deno-lint-ignore no-explicit-any -- the web's type of a stream is not that of node:stream/web
  const packed = Readable.fromWeb(body as any);
  let failure: Error | undefined;
  packed.on("error", (error) => {
    failure = error;
    decoder.destroy(error);
  });
  try {
    yield* packed.pipe(decoder);
  } catch (error) {
    // A body that breaks off is described by its reader.
    if (failure !== undefined) throw failure;
    const reason = error instanceof Error ? error.message : String(error);
    throw new RequestError(`The body is not ${coding}, as its header says: ${reason}`, {
      code: "invalid_body",
    });
  } finally {
    packed.destroy();
  }
}
