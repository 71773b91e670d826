import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { configHelp, parseConfig, toEngineConfig } from "../../src/core/config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { flagsOf } from "../../src/core/flags.ts";
import { parseTuneConfig, tuneHelp, TuneSchema } from "../../src/core/tune_config.ts";

const refusal = (args: string[]) =>
  assertThrows(() => parseTuneConfig(args, {}), StartupError).message;

Deno.test("parseTuneConfig() fills in the defaults of serve and freezes", () => {
  const config = parseTuneConfig([], {})!;
  const { command: _, ...serve } = parseConfig(["serve"], {});
  assertEquals(config, { ...serve, context: 2048, json: false });
  assert(Object.isFrozen(config));
  assertEquals(toEngineConfig(config, "dir"), toEngineConfig(parseConfig([], {}), "dir"));
});

Deno.test("parseTuneConfig() reads its own flags and those it shares with serve", () => {
  const args = ["models/demo", "--json", "--context=512", "--quantization", "int8"];
  const config = parseTuneConfig(args, { QUIRE_TUNING_STORE: "here.sqlite3" })!;
  assertEquals([config.model, config.json, config.context], ["models/demo", true, 512]);
  assertEquals([config.quantization, config.tuningStore], ["int8", "here.sqlite3"]);
  const packed = parseTuneConfig([...args, "--int8-activations", "on"], {})!;
  assertEquals(toEngineConfig(packed, "dir").int8Activations, "on");
});

Deno.test("parseTuneConfig() refuses flags that decide no kernel, and values beyond their bounds", () => {
  assertStringIncludes(refusal(["--port", "1"]), "Unknown flag --port");
  assertEquals(
    refusal(["--context", "15"]),
    '--context must be an integer from 16 to 131072, got "15"',
  );
  assertStringIncludes(refusal(["--int8-activations", "on"]), "needs quantized weights");
  assertEquals(parseTuneConfig(["--help", "--context", "0"], {}), undefined);
});

Deno.test("tuneHelp() shows every flag of the command, and configHelp() its own", () => {
  const page = tuneHelp();
  for (const { name } of flagsOf(TuneSchema)) assertStringIncludes(page, `  --${name}`);
  assertEquals(page.split("\n").filter((line) => line.length > 96), []);
  assertStringIncludes(configHelp(), "  --context");
  assertStringIncludes(configHelp(), "  quire tune [MODEL]");
});

Deno.test("parseConfig() takes --autotune and --tuning-store on to the engine", () => {
  const args = ["serve", "--autotune", "off", "--log-format", "json", "--log-level", "warn"];
  const { autotune, logFormat, logLevel } = toEngineConfig(parseConfig(args, {}), "dir");
  assertEquals([autotune, logFormat, logLevel], ["off", "json", "warn"]);
  assertEquals(parseConfig(["--tuning-store", "none"], {}).tuningStore, "none");
  const { message } = assertThrows(() => parseConfig(["--autotune", "yes"], {}), StartupError);
  assertEquals(message, '--autotune must be one of auto, on, off, got "yes"');
});
