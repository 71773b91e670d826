import { StartupError } from "../../core/errors.ts";

/** How byte-level BPE splits a text into words, in the terms of tokenizer.json. */
export interface PreTokenizer {
  readonly normalizer: unknown;
  readonly preTokenizer: unknown;
  /** Whether a word that is a token is that token, whatever the merges would give. */
  readonly ignoresMerges: boolean;
  /** Whether the start token is put before every text where the metadata does not say. */
  readonly addsBos: boolean;
}

/** Cuts at each match of one expression after the other; the matches are words. */
function byRegex(...expressions: string[]): unknown {
  const splits = expressions.map((Regex) => ({
    type: "Split",
    pattern: { Regex },
    behavior: "Isolated",
    invert: false,
  }));
  return { type: "Sequence", pretokenizers: [...splits, byteLevel(false)] };
}

/** @param splits whether it splits by GPT-2's own expression. */
function byteLevel(splits: boolean): unknown {
  return { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: splits };
}

/** Single digits, then GPT-2's expression. */
const DIGITS_AND_GPT2 = {
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: "\\p{N}" }, behavior: "Isolated", invert: false },
    byteLevel(true),
  ],
};

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const WORDS = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const REST = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/** Words that begin with capitals and go on with small letters, and words of capitals. */
const CASED = [
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+",
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*",
];
const SYMBOLS = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
const SYMBOLS_AND_SLASHES = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*";

const LLAMA3 = byRegex(`${CONTRACTIONS}|${WORDS}|\\p{N}{1,3}|${SYMBOLS}|${REST}`);
const QWEN2 = byRegex(`${CONTRACTIONS}|${WORDS}|\\p{N}|${SYMBOLS}|${REST}`);
const TEKKEN = byRegex(`${CASED.join("|")}|\\p{N}|${SYMBOLS_AND_SLASHES}|${REST}`);
const GPT4O = byRegex(
  `${CASED.map((word) => `${word}${CONTRACTIONS}?`).join("|")}|\\p{N}{1,3}|` +
    `${SYMBOLS_AND_SLASHES}|${REST}`,
);
const DEEPSEEK3 = byRegex(
  "\\p{N}{1,3}",
  "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" +
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
);

const PLAIN = { normalizer: null, ignoresMerges: false, addsBos: false };
const NFC = { ...PLAIN, normalizer: { type: "NFC" } };
const GPT2 = { ...PLAIN, preTokenizer: byteLevel(true) };
const DIGITS = { ...PLAIN, preTokenizer: DIGITS_AND_GPT2 };
const LLAMA_BPE = { ...PLAIN, preTokenizer: LLAMA3, ignoresMerges: true, addsBos: true };
const QWEN = { ...NFC, preTokenizer: QWEN2 };
const GPT_4O = { ...PLAIN, preTokenizer: GPT4O };

/** By the names that converters give to the pre-tokenizers of published tokenizer.json files. */
const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  "gpt-2": GPT2,
  "phi-2": GPT2,
  "olmo": GPT2,
  "llama-bpe": LLAMA_BPE,
  "llama3": LLAMA_BPE,
  "llama-v3": LLAMA_BPE,
  "falcon3": LLAMA_BPE,
  "smaug-bpe": { ...PLAIN, preTokenizer: LLAMA3 },
  "dbrx": { ...PLAIN, preTokenizer: LLAMA3 },
  "qwen2": QWEN,
  "deepseek-r1-qwen": QWEN,
  "stablelm2": { ...PLAIN, preTokenizer: QWEN2 },
  "smollm": DIGITS,
  "starcoder": DIGITS,
  "refact": DIGITS,
  "command-r": { ...NFC, preTokenizer: DIGITS_AND_GPT2 },
  "tekken": { ...PLAIN, preTokenizer: TEKKEN, ignoresMerges: true, addsBos: true },
  "gpt-4o": GPT_4O,
  "llama4": GPT_4O,
  "deepseek-v3": { ...PLAIN, preTokenizer: DEEPSEEK3 },
};

/**
 * The pre-tokenizer of a name.
 *
 * @throws {StartupError} for one that is not known: a guess would change the tokens silently.
 */
export function preTokenizerOf(name: string | undefined, file: string): PreTokenizer {
  if (name === undefined) {
    throw new StartupError(
      `${file}: metadata lacks tokenizer.ggml.pre, without which texts would be split wrongly: ` +
        `convert the model again with a newer converter`,
    );
  }
  if (Object.hasOwn(PRE_TOKENIZERS, name)) return PRE_TOKENIZERS[name]!;
  throw new StartupError(
    `${file}: tokenizer.ggml.pre is ${JSON.stringify(name)}: known are ` +
      Object.keys(PRE_TOKENIZERS).join(", "),
  );
}
