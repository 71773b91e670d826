import { BPE, type Model, type Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { invariant } from "../base/invariant.ts";
import { type AddedTokens, addedTokensOf } from "./added_tokens.ts";
import { type Placeholders, withoutPlaceholders } from "./control_tokens.ts";
import { IdBuffer } from "./id_buffer.ts";
import { createNormalizer } from "./normalizer.ts";
import { isLowSurrogate, WordCuts } from "./word_cuts.ts";
import { SPAN_CHARS, TextSpans } from "./text_spans.ts";

/** How a text becomes ids. */
export interface EncodeOptions {
  /** Adds the special tokens that belong around every text; the default. */
  readonly addSpecialTokens?: boolean;
  /** Control tokens in the text become their ids; the default. Otherwise they are text. */
  readonly parseSpecial?: boolean;
  /** Characters to put back once control tokens have been found. */
  readonly placeholders?: Placeholders;
  /** Called before every few thousand characters, so that it can stop the work by throwing. */
  readonly onProgress?: () => void;
}

/** Longest word that is encoded whole and cached by its text, UTF-16 code units. */
const WHOLE_WORD_CHARS = 64;

/** A sample text, to find the special tokens that are put around every text. */
const ANY_TEXT = "\0text";

/**
 * Text to token ids with the library's parts, in time linear in the text's length and memory for a
 * few spans beside the ids.
 *
 * The parts (normalizer, pre-tokenizer, model) are the library's; this class hands them a text in
 * spans ({@link TextSpans}) and long words in parts ({@link WordCuts}). The ids are the library's
 * own, with one exception: a run of more than some 15,000 characters without a split point (a
 * space, a change from letters to digits or punctuation) in which all neighbours may merge is cut,
 * and the tokens at the cut may differ.
 */
export class Encoder {
  readonly #library: LibraryTokenizer;
  readonly #model: Model;
  readonly #normalize: (text: string) => string;
  readonly #added: { readonly all: AddedTokens; readonly withoutControl: AddedTokens };
  readonly #cuts: WordCuts | undefined;
  readonly #keepsWholeWords: boolean;
  readonly #spans: TextSpans;

  /** @param file the tokenizer.json that `library` was made of. */
  constructor(library: LibraryTokenizer, file: unknown, config: unknown) {
    const { model } = library;
    invariant(model !== null, "a tokenizer has no model");
    invariant(isOptionalId(model.unk_token_id), `unknown tokens have id ${model.unk_token_id}`);
    this.#library = library;
    this.#model = model;
    this.#normalize = createNormalizer(library, file, config);
    this.#added = addedTokensOf(library);
    this.#cuts = cutsOf(model);
    // Such a model prefers a token for the whole word over the result of merging.
    this.#keepsWholeWords = model instanceof BPE && model.ignore_merges;
    this.#spans = new TextSpans(library.pre_tokenizer, this.#cuts, file);
  }

  /** Ids of the special tokens that the vocabulary's own rules put before and behind every text. */
  around(addSpecialTokens: boolean): { readonly before: number[]; readonly behind: number[] } {
    const { post_processor: rules } = this.#library;
    if (rules === null) return { before: [], behind: [] };
    const { tokens } = rules.post_process([ANY_TEXT], null, addSpecialTokens);
    const at = tokens.indexOf(ANY_TEXT);
    const idsOf = (texts: string[]) => texts.map((text) => this.#idOf(text));
    return { before: idsOf(tokens.slice(0, at)), behind: idsOf(tokens.slice(at + 1)) };
  }

  /** Ids of `text`, without the special tokens around it. */
  encode(text: string, options: Omit<EncodeOptions, "addSpecialTokens"> = {}): Uint32Array {
    const { parseSpecial = true, placeholders = {}, onProgress = () => {} } = options;
    const added = parseSpecial ? this.#added.all : this.#added.withoutControl;
    const ids = new IdBuffer();
    for (const [index, piece] of added.splitGiven(text).entries()) {
      const id = added.idOf(piece);
      if (id !== undefined) ids.push(id);
      if (id !== undefined || piece === "") continue;
      onProgress();
      for (const part of added.splitNormalized(this.#normalize(piece))) {
        const partId = added.idOf(part);
        if (partId !== undefined) ids.push(partId);
        else {
          const section = withoutPlaceholders(part, placeholders);
          this.#encodeSection(section, { index, ids, onProgress });
        }
      }
    }
    return ids.toArray();
  }

  /** Encodes normalized text without added tokens in it. */
  #encodeSection(
    text: string,
    { index, ids, onProgress }: {
      readonly index: number;
      readonly ids: IdBuffer;
      readonly onProgress: () => void;
    },
  ): void {
    let unknown = false;
    for (let at = 0; at < text.length;) {
      onProgress();
      let end = Math.min(text.length, at + SPAN_CHARS);
      if (end < text.length && isLowSurrogate(text.charCodeAt(end))) end--;
      const isFirst = at === 0;
      const { words, numChars } = this.#spans.read(text.slice(at, end), {
        isLast: end === text.length,
        ...(isFirst ? { sectionIndex: index } : {}),
      });
      unknown = this.#encodeWords(words, ids, unknown);
      at += numChars;
    }
  }

  /**
   * @param unknown whether the section's last token so far is the unknown one; returns the same.
   */
  #encodeWords(words: readonly string[], ids: IdBuffer, unknown: boolean): boolean {
    const { unk_token_id: unknownId, fuse_unk: fuses } = this.#model;
    let last = unknown;
    for (const token of this.#model._call(words.flatMap((word) => this.#partsOf(word)))) {
      const id = this.#model.tokens_to_ids.get(token) ?? unknownId;
      // A vocabulary without a token for what it lacks leaves that out, as Python's library does.
      if (id === undefined || id === null) continue;
      const isUnknown = id === unknownId;
      if (!(isUnknown && last && fuses)) ids.push(id);
      last = isUnknown;
    }
    return last;
  }

  #partsOf(word: string): string[] {
    if (word.length <= WHOLE_WORD_CHARS || this.#keepsWholeWords) return [word];
    return this.#cuts?.parts(word) ?? [word];
  }

  #idOf(token: string): number {
    const id = this.#model.tokens_to_ids.get(token) ?? this.#model.unk_token_id;
    // A tokenizer.json that names unknown tokens is refused with this sentence.
    invariant(id !== undefined, `the token ${JSON.stringify(token)} has no id`);
    return id;
  }
}

function isOptionalId(id: unknown): boolean {
  return id === undefined || id === null || Number.isInteger(id) && (id as number) >= 0;
}

/** Undefined for a model whose words cannot be cut without changing their tokens. */
function cutsOf(model: Model): WordCuts | undefined {
  if (!(model instanceof BPE)) return undefined;
  const marksWords = Boolean(model.end_of_word_suffix) || Boolean(model.continuing_subword_suffix);
  return marksWords ? undefined : new WordCuts(model.merges);
}
