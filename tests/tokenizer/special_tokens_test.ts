import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { loadSpecialTokens } from "../../src/tokenizer/special_tokens.ts";
import { withModelDir } from "../weights/checkpoint_files.ts";

function load(files: Record<string, unknown>) {
  const texts = Object.entries(files).map(([name, json]) => [name, JSON.stringify(json)]);
  let result: ReturnType<typeof loadSpecialTokens> | undefined;
  withModelDir(Object.fromEntries(texts), (dir) => {
    result = loadSpecialTokens(dir, (token) => token === "</s>" ? 9 : undefined);
  });
  return result!;
}

const GENERATION = "generation_config.json";
const TOKENIZER = "tokenizer_config.json";

Deno.test("loadSpecialTokens() trusts generation_config, then config, then tokenizer_config", () => {
  const all = {
    [GENERATION]: { eos_token_id: [3, 4, 3] },
    "config.json": { eos_token_id: 5 },
    [TOKENIZER]: { eos_token: "</s>" },
  };
  assertEquals(load(all).eosTokenIds, [3, 4]);
  assertEquals(load({ ...all, [GENERATION]: {} }).eosTokenIds, [5]);
  assertEquals(load({ ...all, [GENERATION]: {}, "config.json": {} }).eosTokenIds, [9]);
  assertEquals(load({ ...all, [GENERATION]: { eos_token_id: null } }).eosTokenIds, [5]);
  assertEquals(load({ [TOKENIZER]: { eos_token: "unknown" } }).eosTokenIds, []);
  assertEquals(load({}), { addsBosToken: false, eosTokenIds: [] });
});

Deno.test("loadSpecialTokens() reads token texts, plain or described", () => {
  const config = { bos_token: { content: "<s>", lstrip: false }, eos_token: "</s>" };
  assertEquals(load({ [TOKENIZER]: { ...config, add_bos_token: true } }), {
    bosToken: "<s>",
    eosToken: "</s>",
    addsBosToken: true,
    eosTokenIds: [9],
  });
  assertEquals(load({ [TOKENIZER]: { bos_token: null } }).bosToken, undefined);
});

Deno.test("loadSpecialTokens() names the field it refuses", () => {
  const refuse = (files: Record<string, unknown>, part: string) =>
    assertThrows(() => load(files), StartupError, part);
  refuse({ [GENERATION]: { eos_token_id: -1 } }, `${GENERATION}: field "eos_token_id" is -1`);
  refuse({ "config.json": { eos_token_id: "2" } }, 'config.json: field "eos_token_id" is "2"');
  refuse({ [TOKENIZER]: { bos_token: 7 } }, `${TOKENIZER}: field "bos_token" is 7`);
  refuse({ [TOKENIZER]: [] }, `${TOKENIZER}: the whole file is []`);
});
