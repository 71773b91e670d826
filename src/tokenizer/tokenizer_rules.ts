import { z } from "zod";
import { parseModelJson } from "../core/model_json.ts";

const Flag = z.boolean().nullish();

/** A text to search for, or a regular expression. */
const Pattern = z.union([
  z.looseObject({ String: z.string() }),
  z.looseObject({ Regex: z.string() }),
]);

/** The parts of rules that the library takes in any form, and silently does without. */
const Rule = z.looseObject({
  type: z.string(),
  pattern: Pattern.optional(),
  add_prefix_space: Flag,
  trim_offsets: Flag,
  use_regex: Flag,
  invert: Flag,
  individual_digits: Flag,
  get normalizers() {
    return z.array(Rule).optional();
  },
  get pretokenizers() {
    return z.array(Rule).optional();
  },
  get processors() {
    return z.array(Rule).optional();
  },
  single: z.array(z.union([
    z.looseObject({ SpecialToken: z.looseObject({ id: z.string() }) }),
    z.looseObject({ Sequence: z.looseObject({ id: z.enum(["A", "B"]) }) }),
  ])).optional(),
});

/** Fields that a rule of some type cannot do without. */
const NEEDED: Readonly<Record<string, string>> = {
  Split: "pattern",
  Replace: "pattern",
  TemplateProcessing: "single",
};

/** The lists of a sequence, by where it stands. */
const LISTS = {
  normalizer: "normalizers",
  pre_tokenizer: "pretokenizers",
  post_processor: "processors",
} as const;

type Place = keyof typeof LISTS;

function ruleOf(place: Place) {
  return Rule.superRefine((rule, context) => {
    const check = (rule: Readonly<Record<string, unknown>>, path: (string | number)[]) => {
      const list = LISTS[place];
      const needed = rule["type"] === "Sequence" ? list : NEEDED[String(rule["type"])];
      if (needed !== undefined && rule[needed] === undefined) {
        const message = `must be there for ${rule["type"]}`;
        context.addIssue({ code: "custom", message, path: [...path, needed] });
      }
      const parts = (rule[list] ?? []) as Readonly<Record<string, unknown>>[];
      parts.forEach((part, i) => check(part, [...path, list, i]));
    };
    check(rule, []);
  }).nullish();
}

const Rules = z.looseObject({
  added_tokens: z.array(z.looseObject({
    single_word: Flag,
    lstrip: Flag,
    rstrip: Flag,
    normalized: Flag,
    special: Flag,
  })).nullish(),
  normalizer: ruleOf("normalizer"),
  pre_tokenizer: ruleOf("pre_tokenizer"),
  post_processor: ruleOf("post_processor"),
  model: z.looseObject({
    type: z.enum(["BPE", "Unigram", "WordPiece", "WordLevel"]).nullish(),
    unk_token: z.string().nullish(),
    unk_id: z.int().min(0).nullish(),
    fuse_unk: Flag,
    byte_fallback: Flag,
    ignore_merges: Flag,
  }),
});

/**
 * Refuses rules that the library would leave out without a word, so that texts would become other
 * ids than the model was trained on. What the library itself refuses is left to it.
 *
 * @param json the content of a tokenizer.json, whose vocabulary is not looked at.
 * @throws {StartupError} naming the file, the field and its value.
 */
export function checkRules(json: Readonly<Record<string, unknown>>, file: string): void {
  const { vocab: _, merges: __, ...model } = json["model"] as Readonly<Record<string, unknown>>;
  parseModelJson(Rules, { ...json, model }, file);
}
