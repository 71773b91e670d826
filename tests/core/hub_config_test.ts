import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { configHelp, parseConfig } from "../../src/core/config.ts";
import { StartupError } from "../../src/core/errors.ts";
import {
  modelsHelp,
  parseModelsConfig,
  parsePullConfig,
  parseRemoveConfig,
  pullHelp,
  removeHelp,
} from "../../src/core/hub_config.ts";

function messageOf(work: () => unknown): string {
  return assertThrows(work, StartupError).message;
}

Deno.test("pull takes one model, from the command line or its variable", () => {
  assertEquals(parsePullConfig(["a/b"], { QUIRE_MODEL: "c/d" }), { model: "a/b" });
  assertEquals(parsePullConfig([], { QUIRE_MODEL: "c/d" }), { model: "c/d" });
  assertEquals(parsePullConfig(["--help"], {}), undefined);
  assertStringIncludes(messageOf(() => parsePullConfig([], {})), "quire pull needs the name");
  assertStringIncludes(messageOf(() => parsePullConfig(["a/b", "c"], {})), 'argument "c"');
  assertStringIncludes(messageOf(() => parsePullConfig(["--yess"], {})), "Unknown flag --yess");
});

Deno.test("rm takes its model from the command line alone", () => {
  assertEquals(parseRemoveConfig(["a/b@v1"]), { model: "a/b@v1" });
  assertEquals(parseRemoveConfig(["-h"]), undefined);
  assertStringIncludes(messageOf(() => parseRemoveConfig([])), "quire rm needs the name");
  assertStringIncludes(messageOf(() => parseRemoveConfig(["a/b", "c/d"])), 'argument "c/d"');
});

Deno.test("models takes a format and no argument", () => {
  assertEquals(parseModelsConfig([], {}), { json: false });
  assertEquals(parseModelsConfig(["--json"], {}), { json: true });
  assertEquals(parseModelsConfig(["--help"], {}), undefined);
  assertStringIncludes(messageOf(() => parseModelsConfig(["a/b"], {})), 'argument "a/b"');
});

Deno.test("the commands have pages with examples, and stand on the page of all", () => {
  assertStringIncludes(pullHelp(), "quire pull Qwen/Qwen3-0.6B-GGUF:Q8_0");
  assertStringIncludes(removeHelp(), "quire rm Qwen/Qwen3-0.6B@v1.0");
  assertStringIncludes(modelsHelp(), "--json");
  for (const command of ["pull", "models", "rm"]) {
    assertStringIncludes(configHelp(), `  quire ${command} `);
    const message = messageOf(() => parseConfig(["--port", "1", command], {}));
    assertEquals(message, `The command ${command} stands before its flags: see --help`);
  }
  for (const page of [pullHelp(), removeHelp(), modelsHelp(), configHelp()]) {
    assertEquals(page.split("\n").filter((line) => line.length > 96), []);
  }
});

Deno.test("serve takes --yes", () => {
  assertEquals(parseConfig(["serve", "a/b"], {}).yes, false);
  const { model, yes } = parseConfig(["serve", "a/b", "--yes"], {});
  assertEquals([model, yes], ["a/b", true]);
});
