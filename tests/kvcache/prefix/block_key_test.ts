import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import { BlockKeyColumn, BlockKeyer } from "../../../src/kvcache/prefix/block_key.ts";
import { KEY_SPACE } from "../../support/scheduler_rig.ts";

const TOKENS = Uint32Array.of(5, 6, 7, 8);

Deno.test("BlockKeyer makes 128-bit keys that depend on everything that goes into them", () => {
  const keyer = new BlockKeyer(KEY_SPACE);
  const root = keyer.rootKey("");
  const keys = [
    root,
    keyer.rootKey("a"),
    new BlockKeyer({ ...KEY_SPACE, secret: Uint8Array.of(1, 2, 4) }).rootKey(""),
    new BlockKeyer({ ...KEY_SPACE, modelFingerprint: "other" }).rootKey(""),
    new BlockKeyer({ ...KEY_SPACE, layout: "f16" }).rootKey(""),
    keyer.childKey(root, TOKENS),
    keyer.childKey(root, Uint32Array.of(5, 6, 7, 9)),
    keyer.childKey(root, Uint32Array.of(5, 6, 7)),
    keyer.childKey(keyer.rootKey("a"), TOKENS),
    keyer.childKey(keyer.childKey(root, TOKENS), TOKENS),
    keyer.childKey(root, TOKENS, ["image"]),
    new BlockKeyer({ ...KEY_SPACE, secret: Uint8Array.of(1, 2, 4) }).childKey(root, TOKENS),
  ];
  assertEquals(new Set(keys).size, keys.length);
  for (const key of keys) assert(/^[0-9a-f]{32}$/.test(key), key);
});

Deno.test("BlockKeyer writes every field with its length (S102): no two lists of extras are alike", () => {
  const keyer = new BlockKeyer(KEY_SPACE);
  const root = keyer.rootKey("");
  const extras = [["bc", "a"], ["c", "ab"], ["bca"], ["b", "ca"], ["", "bca"], ["a", "bc"], ["bc"]];
  const keys = extras.map((list) => keyer.childKey(root, TOKENS, list));
  assertEquals(new Set(keys).size, extras.length);
  const shifted = { ...KEY_SPACE, modelFingerprint: "fak", layout: "ef32" };
  assert(new BlockKeyer(shifted).rootKey("") !== root);
});

Deno.test("BlockKeyer gives the same key for the same content, whatever was asked before", () => {
  const keyer = new BlockKeyer(KEY_SPACE);
  const first = keyer.childKey(keyer.rootKey("x"), TOKENS);
  keyer.childKey(first, new Uint32Array(1000), ["a long extra ".repeat(100)]);
  assertEquals(keyer.childKey(keyer.rootKey("x"), TOKENS), first);
  assertEquals(
    keyer.childKey(keyer.rootKey("x"), Uint32Array.of(1, 5, 6, 7, 8).subarray(1)),
    first,
  );
  const other = new BlockKeyer({ ...KEY_SPACE, secret: KEY_SPACE.secret.slice() });
  assertEquals(other.childKey(other.rootKey("x"), TOKENS), first);
  assertThrows(() => keyer.childKey("short", TOKENS), InvariantError, "5 digits");
});

Deno.test("BlockKeyColumn keeps a key per block, leading zeros included", () => {
  const column = new BlockKeyColumn(3);
  const key = "00000001ffffffff0000000080000000";
  column.set(1, key);
  assertEquals([column.get(0), column.get(1), column.get(2)], [undefined, key, undefined]);
  column.delete(1);
  assertEquals(column.get(1), undefined);
});
