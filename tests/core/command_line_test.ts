import { assertEquals, assertThrows } from "@std/assert";
import { z } from "zod";
import {
  checkValues,
  deepFreeze,
  readCommandLine,
  takeModelArgument,
} from "../../src/core/command_line.ts";

import { StartupError } from "../../src/core/errors.ts";
import { flagsOf } from "../../src/core/flags.ts";

const meta = { description: "What it is", group: "Things", value: "X" };
const Schema = z.object({
  model: z.string().min(1).optional().meta(meta),
  count: z.int().min(1).max(9).default(3).meta(meta),
  loud: z.boolean().default(true).meta({ ...meta, value: "" }),
});
const FLAGS = flagsOf(Schema);
const MODEL = FLAGS[0]!;

function values(args: string[], env: Record<string, string> = {}) {
  const line = readCommandLine(args, env, { flags: FLAGS });
  takeModelArgument(line, MODEL);
  return checkValues(Schema, line.given);
}

function refusal(args: string[], env: Record<string, string> = {}): string {
  return assertThrows(() => values(args, env), StartupError).message;
}

Deno.test("readCommandLine() takes a switch alone, with a text, negated, and from its variable", () => {
  const off = [["--loud=false"], ["--no-loud"], ["--loud", "--no-loud"], ["--loud=0"]];
  for (const args of off) assertEquals(values(args).loud, false, args.join(" "));
  const on = [["--loud"], ["--loud=true"], ["--no-loud", "--loud"], ["--loud=1"], []];
  for (const args of on) assertEquals(values(args).loud, true, args.join(" "));
  assertEquals(values([], { QUIRE_LOUD: "false" }).loud, false);
  assertEquals(values(["--loud"], { QUIRE_LOUD: "false" }).loud, true);
});

Deno.test("readCommandLine() leaves what follows a switch to the arguments", () => {
  assertEquals(values(["--no-loud", "llama"]), { model: "llama", count: 3, loud: false });
  assertEquals(values(["--loud", "llama"]), { model: "llama", count: 3, loud: true });
});

Deno.test("readCommandLine() refuses a negated flag that is no switch or has a value", () => {
  assertEquals(refusal(["--no-count"]), "Unknown flag --no-count: did you mean --count?");
  assertEquals(refusal(["--no-loud=yes"]), "Unknown flag --no-loud: did you mean --loud?");
});

Deno.test("checkValues() refuses a switch's text with what it must be", () => {
  assertEquals(refusal(["--loud=maybe"]), '--loud must be true or false, got "maybe"');
  assertEquals(
    refusal([], { QUIRE_LOUD: "maybe" }),
    'QUIRE_LOUD must be true or false, got "maybe"',
  );
});

Deno.test("readCommandLine() answers a flag known from elsewhere with its sentence", () => {
  const command = { flags: FLAGS, answered: new Map([["speed", "There is no speed"]]) };
  for (const args of [["--speed", "9"], ["--speed=9"]]) {
    const error = assertThrows(() => readCommandLine(args, {}, command), StartupError);
    assertEquals(error.message, "There is no speed");
  }
});

Deno.test("readCommandLine() reports the first command given as a flag and checks no value", () => {
  const read = (args: string[]) =>
    readCommandLine(args, { QUIRE_COUNT: "x" }, { flags: FLAGS }).asked;
  assertEquals([read(["-h"]), read(["a", "--version", "--help"]), read([])], [
    "help",
    "version",
    undefined,
  ]);
});

Deno.test("takeModelArgument() beats the variable and refuses a second model", () => {
  assertEquals(values(["a"], { QUIRE_MODEL: "b" }).model, "a");
  assertEquals(refusal(["a", "--model", "b"]), 'Unexpected argument "a": see --help');
  assertEquals(refusal(["a", "b"]), 'Unexpected argument "b": see --help');
});

Deno.test("deepFreeze() freezes lists and records inside", () => {
  const value = deepFreeze({ list: [{ n: 1 }], text: "a" });
  assertThrows(() => {
    value.list[0]!.n = 2;
  }, TypeError);
  assertThrows(() => value.list.push({ n: 3 }), TypeError);
});

const Spelled = z.object({
  model: z.string().min(1).optional().meta({ ...meta, aliases: ["-m", "-hf"] }),
  count: z.int().min(1).max(9).default(3).meta({ ...meta, aliases: ["-np"] }),
});

Deno.test("readCommandLine() takes other spellings of a flag, with one dash or two", () => {
  const flags = flagsOf(Spelled);
  const read = (...args: string[]) => {
    const line = readCommandLine(args, { QUIRE_COUNT: "2" }, { flags });
    return { ...checkValues(Spelled, line.given), positionals: line.positionals };
  };
  const expected = { model: "a", count: 5, positionals: ["b"] };
  assertEquals(read("-m", "a", "-np", "5", "b"), expected);
  assertEquals(read("b", "-hf=a", "--count", "4", "-np=5"), expected);
  // What is a flag's value is no spelling.
  assertEquals(read("--model", "-np", "b").model, "-np");
  assertEquals(read("--", "-m"), { count: 2, positionals: ["-m"] });
});

Deno.test("readCommandLine() takes flags that change nothing out, and tells of them", () => {
  const notes: string[] = [];
  const ignored = new Map([
    ["-ngl", { hasValue: true, why: "a reason" }],
    ["--mlock", { hasValue: false, why: "another" }],
  ]);
  const command = { flags: FLAGS, ignored, note: (line: string) => notes.push(line) };
  for (const args of [["-ngl", "99", "--mlock", "a"], ["a", "-ngl=99", "--mlock"]]) {
    assertEquals(readCommandLine(args, {}, command).positionals, ["a"]);
  }
  const lines = ["-ngl changes nothing here: a reason", "--mlock changes nothing here: another"];
  assertEquals(notes, [...lines, ...lines]);
});
