import { assertEquals, assertStringIncludes } from "@std/assert";
import { helpText } from "../../src/core/help.ts";
import type { Flag } from "../../src/core/flags.ts";

const FLAG: Flag = {
  field: "blockSize",
  name: "block-size",
  environment: "QUIRE_BLOCK_SIZE",
  kind: "integer",
  expected: "an integer from 1 to 1024",
  description: "Token positions per KV block",
  group: "KV cache",
  value: "TOKENS",
  defaultText: "16",
};

Deno.test("helpText() sets a flag beside its description and facts, under its group", () => {
  const lines = helpText([FLAG]).split("\n");
  const at = lines.indexOf("KV cache:");
  assertEquals(lines.slice(at, at + 3), [
    "KV cache:",
    "  --block-size TOKENS             Token positions per KV block",
    "                                  from 1 to 1024; default 16; QUIRE_BLOCK_SIZE",
  ]);
});

Deno.test("helpText() moves the description of a long flag to the next line and wraps it", () => {
  const flag = {
    ...FLAG,
    name: "a-flag-of-quite-some-length-indeed",
    description: "word ".repeat(20),
  };
  const lines = helpText([flag]).split("\n");
  const at = lines.findIndex((line) => line.startsWith("  --a-flag"));
  assertEquals(lines[at], "  --a-flag-of-quite-some-length-indeed TOKENS");
  assertStringIncludes(lines[at + 1]!, " ".repeat(34) + "word");
  assertEquals(lines.filter((line) => line.length > 96), []);
});

Deno.test("helpText() keeps flags of one group together", () => {
  const page = helpText([FLAG, { ...FLAG, group: "Server" }, { ...FLAG, name: "other" }]);
  assertEquals(page.match(/KV cache:/g)?.length, 1);
});

Deno.test("helpText() shows a switch without a value", () => {
  const page = helpText([{
    ...FLAG,
    kind: "switch",
    name: "loud",
    value: "",
    defaultText: "false",
  }]);
  assertStringIncludes(page, "  --loud                          Token positions per KV block\n");
});

Deno.test("helpText() starts with the head it is given, long lines wrapped under their column", () => {
  const line = "  quire do [flags]                " + "word ".repeat(20).trimEnd();
  const lines = helpText([FLAG], ["What it does.", `Usage:\n${line}`]).split("\n");
  assertEquals(lines.slice(0, 4), ["What it does.", "", "Usage:", line.slice(0, 93)]);
  assertEquals(lines[4], " ".repeat(34) + "word ".repeat(8).trimEnd());
});
