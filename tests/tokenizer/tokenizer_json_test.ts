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

Deno.test("loadTokenizerJson() refuses what is not a tokenizer", () => {
  refuses([], "is not a JSON object");
  refuses({}, '"model.vocab" must be an object or an array');
  refuses({ model: { vocab: 1 } }, '"model.vocab" must be an object or an array');
  refuses({ model: { vocab: {} }, added_tokens: {} }, '"added_tokens" must be an array');
  for (const token of [null, "a", { id: 1 }, { id: 1, content: "" }, { id: 1, content: 1 }]) {
    refuses({ model: { vocab: {} }, added_tokens: [token] }, 'must have a text as "content"');
  }
});
