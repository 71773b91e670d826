import { omitUndefined } from "../../base/omit_undefined.ts";
import { StartupError } from "../../core/errors.ts";
import { knownArchitecture } from "./architectures.ts";
import type { Fields } from "./json_fields.ts";
import type { Metadata } from "./metadata.ts";
import { pieceMerges } from "./piece_merges.ts";
import { preTokenizerOf } from "./pre_tokenizers.ts";
import {
  readVocabulary,
  sameLength,
  specialId,
  TOKEN_TYPE,
  type Vocabulary,
} from "./vocabulary.ts";

const MODEL = "tokenizer.ggml.model";
/** SentencePiece's mark of a space. */
const SPACE = "\u2581";

/**
 * Texts of control tokens that end a turn, of which metadata often names but one: Llama, Qwen and
 * ChatML, Phi, Gemma, GPT, Granite.
 */
const TURN_ENDS = new Set([
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|end_of_text|>",
]);

/**
 * The tokenizer.json that a file's vocabulary stands for.
 *
 * @throws {StartupError} for a kind of tokenizer that is not known, and for metadata that is
 * missing or does not fit together.
 */
export function tokenizerJson(metadata: Metadata): Fields {
  const vocabulary = readVocabulary(metadata);
  const model = metadata.text(MODEL);
  switch (model) {
    case "gpt2":
      return byteLevelJson(metadata, vocabulary);
    case "llama":
      return sentencePieceJson(metadata, vocabulary);
    default:
      throw new StartupError(
        `${metadata.file}: ${MODEL} is ${JSON.stringify(model ?? null)}: known are gpt2 and llama`,
      );
  }
}

/** The tokenizer_config.json of a file: special tokens and chat template. */
export function tokenizerConfigJson(metadata: Metadata): Fields {
  const vocabulary = readVocabulary(metadata);
  const textOf = (name: string) => vocabulary.tokens[specialId(metadata, name, vocabulary) ?? -1];
  return omitUndefined({
    bos_token: textOf("bos"),
    eos_token: textOf("eos"),
    chat_template: metadata.text("tokenizer.chat_template"),
  });
}

/** Ids that end an answer: those that the metadata names, and the usual ends of turns. */
export function eosTokenIds(metadata: Metadata): number[] {
  const vocabulary = readVocabulary(metadata);
  const named = ["eos", "eot", "eom"].map((name) => specialId(metadata, name, vocabulary));
  const usual = vocabulary.tokens.flatMap((token, id) =>
    TURN_ENDS.has(token) && vocabulary.types[id] === TOKEN_TYPE.control ? [id] : []
  );
  return [...new Set([...named.filter((id) => id !== undefined), ...usual])];
}

function byteLevelJson(metadata: Metadata, vocabulary: Vocabulary): Fields {
  const pre = preTokenizerOf(metadata.text("tokenizer.ggml.pre"), metadata.file);
  const merges = metadata.texts("tokenizer.ggml.merges");
  if (merges === undefined) {
    throw new StartupError(`${metadata.file}: metadata lacks tokenizer.ggml.merges`);
  }
  return {
    version: "1.0",
    added_tokens: addedTokens(metadata, vocabulary),
    normalizer: pre.normalizer,
    pre_tokenizer: pre.preTokenizer,
    post_processor: around(metadata, vocabulary, pre.addsBos),
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoresMerges,
      vocab: vocabOf(vocabulary),
      merges: merges.map((merge) => splitMerge(merge, metadata.file)),
    },
  };
}

/** Byte-level tokens have no spaces, so the first one separates the two. */
function splitMerge(merge: string, file: string): [string, string] {
  const space = merge.indexOf(" ");
  if (space > 0 && space < merge.length - 1) {
    return [merge.slice(0, space), merge.slice(space + 1)];
  }
  throw new StartupError(
    `${file}: tokenizer.ggml.merges has ${JSON.stringify(merge.slice(0, 80))}: must be two tokens`,
  );
}

function sentencePieceJson(metadata: Metadata, vocabulary: Vocabulary): Fields {
  const { tokens, types } = vocabulary;
  const prefixes = metadata.flag("tokenizer.ggml.add_space_prefix") ?? true;
  const unknown = specialId(metadata, "unknown", vocabulary);
  const replace = (from: string, content: string) => ({
    type: "Replace",
    pattern: { String: from },
    content,
  });
  return {
    version: "1.0",
    added_tokens: addedTokens(metadata, vocabulary),
    normalizer: {
      type: "Sequence",
      normalizers: [
        ...prefixes ? [{ type: "Prepend", prepend: SPACE }] : [],
        replace(" ", SPACE),
      ],
    },
    pre_tokenizer: null,
    post_processor: around(metadata, vocabulary, true),
    decoder: {
      type: "Sequence",
      decoders: [
        replace(SPACE, " "),
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...prefixes ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [],
      ],
    },
    model: {
      type: "BPE",
      unk_token: unknown === undefined ? null : tokens[unknown],
      fuse_unk: true,
      byte_fallback: types.includes(TOKEN_TYPE.byte),
      vocab: vocabOf(vocabulary),
      merges: pieceMerges(scoredPieces(metadata, vocabulary)),
    },
  };
}

/** The pieces that SentencePiece joins, with their scores. */
function scoredPieces(
  metadata: Metadata,
  { tokens, types }: Vocabulary,
): Map<string, { id: number; score: number }> {
  const key = "tokenizer.ggml.scores";
  const scores = sameLength(metadata.numbers(key), tokens.length, key, metadata.file);
  if (scores === undefined) throw new StartupError(`${metadata.file}: metadata lacks ${key}`);
  const pieces = new Map<string, { id: number; score: number }>();
  for (const [id, token] of tokens.entries()) {
    if (types[id] !== TOKEN_TYPE.normal) continue;
    const score = scores[id]!;
    if (!Number.isFinite(score)) {
      throw new StartupError(`${metadata.file}: ${key} has ${score} for token ${id}`);
    }
    pieces.set(token, { id, score });
  }
  return pieces;
}

function vocabOf({ tokens }: Vocabulary): Fields {
  // Without a prototype, so that a token named "__proto__" is a token.
  const vocab: Record<string, number> = Object.create(null);
  tokens.forEach((token, id) => vocab[token] = id);
  return vocab;
}

/** Tokens that are found in a text before it is split: control tokens, and those users defined. */
function addedTokens(metadata: Metadata, vocabulary: Vocabulary): Fields[] {
  const unknown = specialId(metadata, "unknown", vocabulary);
  const leaveSpace = metadata.text(MODEL) === "llama"
    ? knownArchitecture(metadata)?.leaveSpace
    : undefined;
  return vocabulary.tokens.flatMap((content, id) => {
    const type = vocabulary.types[id];
    const isText = type === TOKEN_TYPE.userDefined;
    if (!isText && type !== TOKEN_TYPE.control && id !== unknown) return [];
    return [{
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: leaveSpace?.includes(content) === false,
      normalized: false,
      special: !isText,
    }];
  });
}

/** Puts the start and end tokens around every text, where the file says so. */
function around(metadata: Metadata, vocabulary: Vocabulary, addsBos: boolean): Fields | null {
  const idOf = (name: string, byDefault: boolean) =>
    metadata.flag(`tokenizer.ggml.add_${name}_token`) ?? byDefault
      ? specialId(metadata, name, vocabulary)
      : undefined;
  const [bos, eos] = [idOf("bos", addsBos), idOf("eos", false)];
  if (bos === undefined && eos === undefined) return null;
  const special = (id: number | undefined, type_id: number) =>
    id === undefined ? [] : [{ SpecialToken: { id: vocabulary.tokens[id], type_id } }];
  const text = (id: string, type_id: number) => [
    ...special(bos, type_id),
    { Sequence: { id, type_id } },
    ...special(eos, type_id),
  ];
  const named = [bos, eos].filter((id) => id !== undefined).map((id) => {
    const token = vocabulary.tokens[id]!;
    return [token, { id: token, ids: [id], tokens: [token] }];
  });
  return {
    type: "TemplateProcessing",
    single: text("A", 0),
    pair: [...text("A", 0), ...text("B", 1)],
    special_tokens: Object.fromEntries(named),
  };
}
