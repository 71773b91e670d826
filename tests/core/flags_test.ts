import { assertEquals, assertStringIncludes } from "@std/assert";
import { z } from "zod";
import { BenchSchema } from "../../src/core/bench_config.ts";
import { ChatSchema } from "../../src/core/chat_config.ts";
import { ConfigSchema } from "../../src/core/config_schema.ts";
import { ExplainSchema } from "../../src/core/explain_config.ts";
import { PlanSchema } from "../../src/core/plan_config.ts";
import { type Flag, flagsOf, readFlagText, refuseFlagText } from "../../src/core/flags.ts";

const Schema = z.object({
  maxThings: z.int().min(1).max(9).default(3).meta({
    description: "Most things",
    group: "Things",
    value: "N",
  }),
  secretWord: z.array(z.string()).default([]).meta({
    description: "Words",
    group: "Things",
    value: "WORD",
    secret: true,
  }),
  memoryBytes: z.int().min(1).optional().meta({
    description: "Memory",
    group: "Things",
    value: "SIZE",
    bytes: true,
  }),
});
const [maxThings, secretWord, memoryBytes] = flagsOf(Schema) as [Flag, Flag, Flag];

Deno.test("flagsOf() derives name, variable, kind, bounds and default from a field", () => {
  assertEquals(maxThings, {
    field: "maxThings",
    name: "max-things",
    environment: "QUIRE_MAX_THINGS",
    kind: "integer",
    expected: "an integer from 1 to 9",
    description: "Most things",
    group: "Things",
    value: "N",
    defaultText: "3",
  });
  assertEquals([secretWord.kind, secretWord.secret], ["list", true]);
  assertEquals(memoryBytes.expected, "a size in bytes of at least 1, such as 512MiB");
});

Deno.test("readFlagText() converts what has the right form and leaves the rest as text", () => {
  assertEquals(readFlagText(maxThings, ["4", " 5 "]), 5);
  assertEquals(readFlagText(maxThings, ["4.5"]), "4.5");
  assertEquals(readFlagText(secretWord, ["a, b", "c"]), ["a", "b", "c"]);
  assertEquals(readFlagText(memoryBytes, ["2KiB"]), 2048);
  assertEquals(readFlagText(memoryBytes, ["2QiB"]), "2QiB");
});

Deno.test("refuseFlagText() names source, expectation and value, the value not of a secret", () => {
  assertEquals(
    refuseFlagText(maxThings, "--max-things", ["12"]).message,
    '--max-things must be an integer from 1 to 9, got "12"',
  );
  const message = refuseFlagText(secretWord, "QUIRE_SECRET_WORD", ["hunter2,"]).message;
  assertStringIncludes(message, "QUIRE_SECRET_WORD must be");
  assertEquals(message.includes("hunter2"), false);
});

Deno.test("flagsOf() makes a switch of a boolean, and readFlagText() reads its texts", () => {
  const loud = z.boolean().default(false).meta({ description: "Loud", group: "Things", value: "" });
  const [flag] = flagsOf(z.object({ loud })) as [Flag];
  assertEquals([flag.kind, flag.expected, flag.defaultText], ["switch", "true or false", "false"]);
  const values = ["true", "1", " FALSE ", "0", "yes"].map((text) => readFlagText(flag, [text]));
  assertEquals(values, [true, true, false, false, "yes"]);
});

Deno.test("a setting whose text has a form says which", () => {
  let numForms = 0;
  for (const schema of [ConfigSchema, BenchSchema, ChatSchema, PlanSchema, ExplainSchema]) {
    const { properties = {} } = z.toJSONSchema(schema, { io: "input" });
    for (const [field, property] of Object.entries(properties)) {
      const { pattern, items, expected } = property as {
        readonly pattern?: string;
        readonly items?: { readonly pattern?: string };
        readonly expected?: string;
      };
      const hasForm = (pattern ?? items?.pattern) !== undefined;
      if (hasForm) numForms++;
      assertEquals(expected !== undefined, hasForm, field);
    }
  }
  assertEquals(numForms, 9);
});
