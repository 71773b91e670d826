import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { loadTokenizerJson } from "../../src/tokenizer/tokenizer_json.ts";
import { withModelDir } from "../weights/checkpoint_files.ts";

function load(json: unknown) {
  let result: unknown;
  withModelDir({ "tokenizer.json": JSON.stringify(json) }, (dir) => {
    result = loadTokenizerJson(dir);
  });
  return result;
}

function refuses(json: unknown, part: string): void {
  assertThrows(() => load(json), StartupError, part);
}

Deno.test("loadTokenizerJson() keeps all fields and fills in added_tokens", () => {
  const json = { model: { vocab: { a: 0 } }, decoder: null, truncation: 1 };
  assertEquals(load(json), { ...json, added_tokens: [] });
  load({ model: { vocab: [["a", -1.5]] } });
});

Deno.test("loadTokenizerJson() refuses ids that would make enormous arrays", () => {
  for (const id of [-1, 0.5, 2 ** 20, 4e9, "7", null]) {
    refuses({ model: { vocab: { "<x>": id } } }, 'token "<x>" has id ');
    const added_tokens = [{ id: 0, content: "a" }, { id, content: "b" }];
    refuses({ model: { vocab: {} }, added_tokens }, 'field "added_tokens.1" has id ');
  }
  load({ model: { vocab: { "<x>": 2 ** 20 - 1 } } });
});

Deno.test("loadTokenizerJson() takes a vocabulary with merges for BPE where a file names no kind", () => {
  const model = { vocab: { a: 0 }, merges: [] };
  for (const type of [undefined, null]) {
    const loaded = load({ model: { ...model, type } }) as { model: { type: string } };
    assertEquals(loaded.model.type, "BPE");
  }
});

Deno.test("loadTokenizerJson() refuses rules that the library would leave out, by their place", () => {
  const withRules = (rules: Record<string, unknown>) => ({ model: { vocab: { a: 0 } }, ...rules });
  const split = { type: "Split", pattern: { String: " " }, behavior: "Isolated" };
  const sequence = { type: "Sequence", pretokenizers: [split] };
  load(withRules({ normalizer: null, pre_tokenizer: sequence }));
  const { pattern: _, ...without } = split;
  refuses(
    withRules({ pre_tokenizer: { type: "Sequence", pretokenizers: [split, without] } }),
    'field "pre_tokenizer.pretokenizers.1.pattern" is missing: must be there for Split',
  );
  refuses(withRules({ pre_tokenizer: { ...split, pattern: " " } }), "pre_tokenizer.pattern");
  refuses(withRules({ pre_tokenizer: { type: "Sequence" } }), "pre_tokenizer.pretokenizers");
  refuses(withRules({ normalizer: { type: "Sequence" } }), "normalizer.normalizers");
  refuses(withRules({ normalizer: { type: "Replace", content: "x" } }), "normalizer.pattern");
  refuses(
    withRules({ pre_tokenizer: { type: "ByteLevel", add_prefix_space: 1 } }),
    'field "pre_tokenizer.add_prefix_space" is 1',
  );
  refuses(
    withRules({ post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: {} }] } }),
    "post_processor.single.0",
  );
  refuses(withRules({ post_processor: { type: "TemplateProcessing" } }), "post_processor.single");
  refuses(
    withRules({ added_tokens: [{ id: 0, content: "a", lstrip: "yes" }] }),
    'field "added_tokens.0.lstrip" is "yes"',
  );
  refuses({ model: { vocab: {}, type: "Magic" } }, 'field "model.type" is "Magic"');
  refuses({ model: { vocab: [["a", -1], ["b"]] } }, 'field "model.vocab.1" is ["b"]');
});

Deno.test("loadTokenizerJson() refuses what is not a tokenizer", () => {
  refuses([], "is not a JSON object");
  refuses({}, '"model.vocab" must be an object or an array');
  refuses({ model: { vocab: 1 } }, '"model.vocab" must be an object or an array');
  refuses({ model: { vocab: {} }, added_tokens: {} }, '"added_tokens" must be an array');
  for (const token of [null, "a", { id: 1 }, { id: 1, content: "" }, { id: 1, content: 1 }]) {
    refuses({ model: { vocab: {} }, added_tokens: [token] }, 'must have a text as "content"');
  }
});
