import { RequestError } from "../core/errors.ts";
import { TextTrie } from "./text_trie.ts";

/**
 * The shapes `<|name|>` and, in DeepSeek's vocabularies, with full-width bars; and SentencePiece's
 * end of a text.
 */
const CONTROL_SHAPE = /^<[|｜].*[|｜]>$|^<\/s>$/su;

/**
 * Whether an added token steers the model, as the end of a turn does. Some vocabularies list such
 * tokens without `special` (DeepSeek's `<｜User｜>`, Phi-3's `</s>`), so the usual shape counts as
 * well. Other added tokens are text that happens to be one token: `<think>`, which models write in
 * their answers and templates search for, or a run of spaces.
 */
export function isControlToken(
  { content, special }: { readonly content: string; readonly special: boolean },
): boolean {
  return special || CONTROL_SHAPE.test(content);
}

/**
 * Placeholders in a text: each key, one UTF-16 code unit, stands for its value and hides a control
 * token.
 */
export type Placeholders = Readonly<Record<string, string>>;

/** `text` with its placeholders replaced by the original characters. */
export function withoutPlaceholders(text: string, placeholders: Placeholders): string {
  let result = text;
  for (const [placeholder, character] of Object.entries(placeholders)) {
    result = result.replaceAll(placeholder, character);
  }
  return result;
}

/** Private-use characters to choose placeholders from, first to last. */
const FIRST_PLACEHOLDER = 0xe000;
const LAST_PLACEHOLDER = 0xf8fe;

/**
 * Keeps texts from being read as control tokens.
 *
 * Where a text contains a control token's text, or ends like the beginning of one, a placeholder
 * takes the place of the first character. A chat template then copies, trims, splits and measures
 * the text as before (it has the same length), and {@link withoutPlaceholders} restores it once the
 * template's own control tokens have been found. Other texts are left as they are.
 */
export class ControlTokenMask {
  readonly #controls: TextTrie;

  /** @param controls the texts of all control tokens. */
  constructor(controls: readonly string[]) {
    this.#controls = new TextTrie(controls);
  }

  /**
   * The masked texts and the meaning of their placeholders. A placeholder occurs in none of the
   * texts and not in `around`, which holds all other text that may be rendered.
   *
   * @throws {RequestError} 400 when the texts leave no private-use character unused.
   */
  mask(
    texts: readonly string[],
    around: readonly string[] = [],
  ): { readonly texts: readonly string[]; readonly placeholders: Placeholders } {
    const places = texts.map((text) => this.#places(text));
    if (places.every(({ length }) => length === 0)) return { texts, placeholders: {} };
    const unused = unusedCharacters([...texts, ...around]);
    const placeholderOf = new Map<string, string>();
    const masked = texts.map((text, i) =>
      replaceAt(text, places[i]!, (character) => {
        const known = placeholderOf.get(character) ?? unused.next().value;
        if (known === undefined) throw noPlaceholderLeft();
        placeholderOf.set(character, known);
        return known;
      })
    );
    const placeholders = Object.fromEntries([...placeholderOf].map(([from, to]) => [to, from]));
    return { texts: masked, placeholders };
  }

  /** Where in `text` a control token stands or, at its end, may begin; ascending. */
  #places(text: string): number[] {
    const places: number[] = [];
    for (let i = 0; i < text.length; i++) {
      if (this.#controls.longestAt(text, i) > 0 || this.#controls.mayGoOnAt(text, i)) {
        places.push(i);
      }
    }
    return places;
  }
}

/** `text` with the code units at `places` changed. */
function replaceAt(
  text: string,
  places: readonly number[],
  change: (character: string) => string,
): string {
  const parts: string[] = [];
  let end = 0;
  for (const place of places) {
    parts.push(text.slice(end, place), change(text[place]!));
    end = place + 1;
  }
  return parts.join("") + text.slice(end);
}

/** Private-use characters that occur in none of `texts`. */
function* unusedCharacters(texts: readonly string[]): Generator<string, undefined> {
  const used = new Set(texts.flatMap((text) => text.match(/[\ue000-\uf8fe]/g) ?? []));
  for (let code = FIRST_PLACEHOLDER; code <= LAST_PLACEHOLDER; code++) {
    const character = String.fromCharCode(code);
    if (!used.has(character)) yield character;
  }
}

function noPlaceholderLeft(): RequestError {
  return new RequestError(
    "messages contain control tokens and use all private-use characters from U+E000 to U+F8FE: " +
      "at least one must be left unused",
    { code: "invalid_value", param: "messages" },
  );
}
