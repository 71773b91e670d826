import type { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";

/**
 * Longest run of combining marks that is normalized at once. Putting a run into canonical order
 * takes the square of its length, and no language has more than a handful (Unicode's own
 * Stream-Safe Text Format allows 30).
 */
const MAX_MARKS = 256;
const LONG_RUN = new RegExp(`\\p{M}{${MAX_MARKS}}`, "gu");
const UNICODE_FORM = /"NFK?[CD]"|"BertNormalizer"|"Precompiled"/;

/** The field of tokenizer_config.json that old vocabularies normalize by as well. */
interface OldRules {
  readonly remove_space?: unknown;
  readonly do_lowercase_and_remove_accent?: unknown;
}

/**
 * The normalizer of a vocabulary, in time linear in the text's length.
 *
 * @param file the tokenizer.json that `library` was made of.
 * @param config the tokenizer_config.json.
 */
export function createNormalizer(
  { normalizer }: LibraryTokenizer,
  file: unknown,
  config: unknown,
): (text: string) => string {
  const { remove_space, do_lowercase_and_remove_accent } = config as OldRules;
  const rules = JSON.stringify((file as { readonly normalizer?: unknown }).normalizer) ?? "";
  const reorders = UNICODE_FORM.test(rules);
  return (given) => {
    let text = given;
    if (remove_space === true) text = text.trim().split(/\s+/).join(" ");
    if (do_lowercase_and_remove_accent === true) {
      text = text.toLowerCase().replace(/\p{M}/gu, "");
    }
    if (normalizer === null) return text;
    if (!reorders) return normalizer.normalize(text);
    return cutLongRuns(text).map((part) => normalizer.normalize(part)).join("");
  };
}

/** `text` in parts, none with a longer run of marks than is normalized at once. */
function cutLongRuns(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (const { 0: run, index } of text.matchAll(LONG_RUN)) {
    parts.push(text.slice(start, index + run.length));
    start = index + run.length;
  }
  parts.push(text.slice(start));
  return parts;
}
