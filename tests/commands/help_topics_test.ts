import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { COMMAND_FLAGS } from "../../src/commands/command_flags.ts";
import { COMMAND_TABLE } from "../../src/commands/command_table.ts";
import { helpOn, TOPICS } from "../../src/commands/help_topics.ts";
import { type CommandEntry, COMMANDS } from "../../src/core/command_names.ts";
import { StartupError } from "../../src/core/errors.ts";

const ENTRIES: readonly CommandEntry[] = COMMANDS;

Deno.test("every command has a page with its usage, its examples and every flag", () => {
  assertEquals(Object.keys(COMMAND_TABLE), ENTRIES.map(({ name }) => name));
  for (const { name, args, examples } of ENTRIES) {
    const page = name === "help" ? helpOn("help") : helpOn(name);
    assertStringIncludes(page, `  quire ${name} ${args}`.trimEnd());
    for (const [line] of examples) assertStringIncludes(page, `  ${line}`);
    for (const flag of COMMAND_FLAGS[name as keyof typeof COMMAND_FLAGS]) {
      assertStringIncludes(page, `  --${flag.name}`);
    }
    assert(name === "version" || examples.length > 0, `${name} has no example`);
  }
});

Deno.test("every page fits a terminal", () => {
  for (const topic of TOPICS) {
    const wide = helpOn(topic).split("\n").filter((line) => line.length > 100);
    assertEquals(wide, [], topic);
  }
});

Deno.test("a group of flags has a page of its own", () => {
  const page = helpOn("kv-cache");
  assertStringIncludes(page, "--block-size");
  assert(!page.includes("--port"));
  assertStringIncludes(helpOn("Scheduler"), "--max-num-seqs");
});

Deno.test("the page of all leads to the others, and a wrong topic to the nearest", () => {
  const page = helpOn(undefined);
  for (const { name, summary } of ENTRIES) {
    assertStringIncludes(page, `quire ${name}`);
    assertStringIncludes(page, summary.split(" (")[0]!);
  }
  assertStringIncludes(page, "quire help TOPIC shows less: serve, run,");
  const refusal = (topic: string) => assertThrows(() => helpOn(topic), StartupError).message;
  assertEquals(refusal("kv-cach"), 'There is no page on "kv-cach": did you mean kv-cache?');
  assertStringIncludes(refusal("weather"), "one of serve, run,");
});
