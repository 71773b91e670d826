import { StartupError } from "../core/errors.ts";

/** The encoding of text in a vocabulary's tokens, which gives the exact bytes of each token. */
export interface TokenBytesScheme {
  /** Bytes that a token of the vocabulary (not an added one) stands for. */
  bytesOf(token: string): Uint8Array;
  /** Whether one space at the start of a decoded text was put there by encoding, and is dropped. */
  readonly dropsLeadingSpace: boolean;
}

const ENCODER = new TextEncoder();

/**
 * Character of each byte in a byte-level vocabulary (Radford et al. 2019, GPT-2, section 2.2).
 * Printable Latin-1 characters stand for themselves; U+0100 on, in order, for the other 68 bytes.
 */
export const BYTE_LEVEL_ALPHABET: readonly string[] = byteLevelAlphabet();

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  BYTE_LEVEL_ALPHABET.map((character, byte) => [character, byte]),
);

function byteLevelAlphabet(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}

/**
 * The byte that a character of a byte-level vocabulary stands for; undefined outside its alphabet.
 */
export function byteOfCharacter(character: string): number | undefined {
  return BYTE_OF_CHARACTER.get(character);
}

const BYTE_LEVEL: TokenBytesScheme = {
  dropsLeadingSpace: false,
  bytesOf(token) {
    const bytes = new Uint8Array(token.length);
    for (let i = 0; i < token.length; i++) {
      const byte = BYTE_OF_CHARACTER.get(token[i]!);
      // A token outside the alphabet stands for its own text, as in the format's own decoder.
      if (byte === undefined) return ENCODER.encode(token);
      bytes[i] = byte;
    }
    return bytes;
  },
};

const BYTE_FALLBACK_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

function sentencePiece(
  space: string,
  byteFallback: boolean,
  dropsLeadingSpace: boolean,
): TokenBytesScheme {
  return {
    dropsLeadingSpace,
    bytesOf(token) {
      const hex = byteFallback ? BYTE_FALLBACK_TOKEN.exec(token)?.[1] : undefined;
      return hex === undefined
        ? ENCODER.encode(token.replaceAll(space, " "))
        : Uint8Array.of(parseInt(hex, 16));
    },
  };
}

/** One entry of `decoder` in tokenizer.json, with the keys that are read below. */
interface DecoderStep {
  readonly type?: unknown;
  readonly pattern?: { readonly String?: unknown };
  readonly content?: unknown;
  readonly start?: unknown;
  readonly stop?: unknown;
  readonly replacement?: unknown;
  readonly prepend_scheme?: unknown;
  readonly add_prefix_space?: unknown;
  readonly decoders?: readonly DecoderStep[];
}

/**
 * Reads `decoder` of a tokenizer.json: byte-level BPE, or SentencePiece pieces with or without
 * byte fallback. Those two cover generative models; others are refused, since a wrong guess would
 * garble text silently.
 *
 * @throws {StartupError} naming the step that is not known.
 */
export function parseTokenBytesScheme(decoder: unknown, file: string): TokenBytesScheme {
  const steps = flatten(decoder as DecoderStep | null);
  const [first] = steps;
  if (steps.length === 1 && first?.type === "ByteLevel") return BYTE_LEVEL;
  if (steps.length === 1 && first?.type === "Metaspace") {
    const prepends = first.prepend_scheme !== "never" && first.add_prefix_space !== false;
    return sentencePiece(String(first.replacement ?? "\u2581"), false, prepends);
  }
  return parseSentencePiece(steps, file);
}

function parseSentencePiece(steps: readonly DecoderStep[], file: string): TokenBytesScheme {
  let space: string | undefined;
  let fused = false;
  let byteFallback = false;
  let dropsLeadingSpace = false;
  for (const step of steps) {
    const { type, pattern, content, start, stop } = step;
    if (type === "Replace" && content === " " && typeof pattern?.String === "string") {
      space = pattern.String;
    } else if (type === "ByteFallback") {
      byteFallback = true;
    } else if (type === "Fuse") {
      fused = true;
    } else if (type === "Strip" && fused && content === " " && start === 1 && stop === 0) {
      dropsLeadingSpace = true;
    } else {
      throw new StartupError(
        `${file}: decoder step ${JSON.stringify(step)} is not known: must be ByteLevel, ` +
          `Metaspace, or a SentencePiece sequence of Replace, ByteFallback, Fuse and Strip`,
      );
    }
  }
  if (space === undefined) {
    throw new StartupError(`${file}: field "decoder" must be ByteLevel or SentencePiece`);
  }
  return sentencePiece(space, byteFallback, dropsLeadingSpace);
}

/** The steps of a decoder in order, with nested sequences flattened. */
function flatten(decoder: DecoderStep | null, depth = 0): DecoderStep[] {
  if (decoder === null || typeof decoder !== "object" || depth > 8) return [];
  if (decoder.type !== "Sequence" || !Array.isArray(decoder.decoders)) return [decoder];
  return decoder.decoders.flatMap((step) => flatten(step, depth + 1));
}
