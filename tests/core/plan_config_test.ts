import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { configHelp, parseConfig } from "../../src/core/config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { flagsOf } from "../../src/core/flags.ts";
import { parsePlanConfig, planHelp, PlanSchema } from "../../src/core/plan_config.ts";

function refusal(args: string[]): string {
  return assertThrows(() => parsePlanConfig(args, {}), StartupError).message;
}

Deno.test("parsePlanConfig() fills in the defaults and freezes", () => {
  const config = parsePlanConfig([], {});
  assertEquals(config, {
    memory: 8 * 2 ** 30,
    json: false,
    quantization: "none",
    blockSize: 16,
    maxNumBatchedTokens: 512,
  });
  assert(Object.isFrozen(config));
});

Deno.test("parsePlanConfig() reads its own flags and those it shares with serve", () => {
  const args = ["llama-2-7b", "--memory=1.5GiB", "--json", "--block-size", "32"];
  const config = parsePlanConfig(args, { QUIRE_MAX_MODEL_LEN: "1000" });
  assertEquals([config?.model, config?.memory, config?.json], ["llama-2-7b", 1.5 * 2 ** 30, true]);
  assertEquals([config?.blockSize, config?.maxModelLen], [32, 1000]);
});

Deno.test("parsePlanConfig() takes the pool's memory or the device's, not both", () => {
  assertEquals(parsePlanConfig(["--gpu-memory-bytes", "2GiB"], {})?.gpuMemoryBytes, 2 ** 31);
  assertEquals(
    refusal(["--gpu-memory-bytes", "2GiB", "--memory", "1GiB"]),
    "--memory is for the KV pool alone, and --gpu-memory-bytes for all of it: give one of them",
  );
});

Deno.test("parsePlanConfig() refuses flags that only serve has, and values beyond their bounds", () => {
  assertEquals(refusal(["--memroy", "1GiB"]), "Unknown flag --memroy: did you mean --memory?");
  assertStringIncludes(refusal(["--max-num-seqs", "1"]), "Unknown flag --max-num-seqs");
  assertEquals(
    refusal(["--memory", "8GB"]),
    '--memory must be a size in bytes of at least 1, such as 512MiB, got "8GB"',
  );
  assertStringIncludes(refusal(["--block-size", "7"]), "--block-size must be");
});

Deno.test("parsePlanConfig() answers undefined where help is asked for", () => {
  assertEquals(parsePlanConfig(["--help", "--memory", "nothing"], {}), undefined);
});

Deno.test("planHelp() shows every flag of the command, and the presets", () => {
  const page = planHelp(["one-model", "another-model-with-a-long-name", "x".repeat(30)]);
  for (const { name } of flagsOf(PlanSchema)) assertStringIncludes(page, `  --${name}`);
  assertStringIncludes(page, "Presets: one-model, another-model");
  assertEquals(page.split("\n").filter((line) => line.length > 96), []);
});

Deno.test("configHelp() shows the flags of quire plan beside those of serve", () => {
  const page = configHelp();
  for (const { name } of flagsOf(PlanSchema)) assertStringIncludes(page, `  --${name}`);
  assertEquals(page.match(/ {2}--block-size /g)?.length, 1);
});

Deno.test("parseConfig() knows the command plan by name and says where it stands", () => {
  const messageOf = (args: string[]) =>
    assertThrows(() => parseConfig(args, {}), StartupError).message;
  assertEquals(messageOf(["plann"]), 'Unknown command "plann": did you mean plan?');
  assertEquals(
    messageOf(["--port", "1", "plan"]),
    "The command plan stands before its flags: see --help",
  );
});
