import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { configHelp, parseConfig, toEngineConfig } from "../../src/core/config.ts";
import { ConfigSchema } from "../../src/core/config_schema.ts";
import { StartupError } from "../../src/core/errors.ts";
import { flagsOf } from "../../src/core/flags.ts";

function refusal(args: string[], env: Record<string, string> = {}): string {
  return assertThrows(() => parseConfig(args, env), StartupError).message;
}

Deno.test("parseConfig() fills in the defaults and freezes all the way down", () => {
  const config = parseConfig([], {});
  assertEquals(config.command, "serve");
  assertEquals([config.host, config.port], ["127.0.0.1", 8000]);
  assert(Object.isFrozen(config) && Object.isFrozen(config.apiKey));
});

Deno.test("parseConfig() reads flags in both spellings, repeated and comma-separated lists", () => {
  const config = parseConfig(
    ["serve", "--port=9000", "--block-size", "8", "--api-key", "k1", "--api-key", "k2, k3"],
    {},
  );
  assertEquals([config.port, config.blockSize], [9000, 8]);
  assertEquals(config.apiKey, ["k1", "k2", "k3"]);
});

Deno.test("parseConfig() lets a flag beat its variable and ignores an empty variable", () => {
  const env = { QUIRE_PORT: "9001", QUIRE_HOST: "", QUIRE_API_KEY: "a,b" };
  assertEquals(parseConfig([], env).port, 9001);
  assertEquals(parseConfig(["--port", "9002"], env).port, 9002);
  assertEquals(parseConfig([], env).host, "127.0.0.1");
  assertEquals(parseConfig([], env).apiKey, ["a", "b"]);
});

Deno.test("parseConfig() takes the model as an argument of serve, but not twice", () => {
  assertEquals(parseConfig(["serve", "models/demo"], {}).model, "models/demo");
  assertEquals(
    parseConfig(["serve", "models/demo"], { QUIRE_MODEL: "other" }).model,
    "models/demo",
  );
  assertStringIncludes(refusal(["serve", "a", "--model", "b"]), 'Unexpected argument "a"');
  assertStringIncludes(refusal(["serve", "a", "b"]), 'Unexpected argument "b"');
});

Deno.test("parseConfig() refuses an unknown flag or command with the nearest name", () => {
  assertEquals(refusal(["--prot", "1"]), "Unknown flag --prot: did you mean --port?");
  assertEquals(refusal(["srve"]), 'Unknown command "srve": did you mean serve?');
  assertEquals(refusal(["--zzzzzzzzzzzz"]), "Unknown flag --zzzzzzzzzzzz: see --help");
  assertEquals(refusal(["--constructor"]), "Unknown flag --constructor: see --help");
});

Deno.test("parseConfig() refuses a bad value with its source, limits and value", () => {
  assertEquals(
    refusal(["--port", "99999"]),
    '--port must be an integer from 0 to 65535, got "99999"',
  );
  assertEquals(
    refusal([], { QUIRE_BLOCK_SIZE: "1e3" }),
    'QUIRE_BLOCK_SIZE must be an integer from 4 to 1024 and a multiple of 4, got "1e3"',
  );
  assertEquals(
    refusal(["--device", "tpu"]),
    '--device must be one of auto, webgpu, cpu, got "tpu"',
  );
  assertEquals(refusal(["--seed", "-1"]), '--seed must be an integer of at least 0, got "-1"');
  assertEquals(refusal(["--port"]), "--port needs a value: an integer from 0 to 65535");
  assertEquals(refusal(["--port", "--host"]), "--port needs a value: an integer from 0 to 65535");
});

Deno.test("parseConfig() never repeats an API key in an error", () => {
  const message = refusal(["--api-key", "hunter2,,x"]);
  assertStringIncludes(message, "--api-key must be");
  assert(!message.includes("hunter2"));
});

Deno.test("parseConfig() explains the variable that Kubernetes sets for a service", () => {
  assertStringIncludes(refusal([], { QUIRE_PORT: "tcp://10.0.0.1:8000" }), "Kubernetes");
});

Deno.test("parseConfig() reads sizes with binary suffixes", () => {
  const bytes = (text: string) =>
    parseConfig(["--kv-cache-memory-bytes", text], {}).kvCacheMemoryBytes;
  assertEquals(bytes("4096"), 4096);
  assertEquals(bytes("3KiB"), 3072);
  assertEquals(bytes("512mib"), 536_870_912);
  assertEquals(bytes("1.5 GiB"), 1_610_612_736);
  assertStringIncludes(refusal(["--kv-cache-memory-bytes", "2GB"]), "such as 512MiB");
  assertStringIncludes(refusal(["--kv-cache-memory-bytes", "0.5"]), 'got "0.5"');
});

Deno.test("parseConfig() answers --gpu-memory-utilization with the reason and the alternative", () => {
  for (const args of [["--gpu-memory-utilization", "0.9"], ["--gpu-memory-utilization=0.9"]]) {
    const message = refusal(args);
    assertStringIncludes(message, "WebGPU does not tell");
    assertStringIncludes(message, "--gpu-memory-bytes");
  }
});

Deno.test("parseConfig() takes a context in tokens, or auto for the longest that fits", () => {
  const length = (...args: string[]) => toEngineConfig(parseConfig(args, {}), "").maxModelLen;
  assertEquals(length(), undefined);
  assertEquals(length("--max-model-len", "auto"), "auto");
  assertEquals(length("--max-model-len", "4096"), 4096);
  assertEquals(parseConfig([], { QUIRE_MAX_MODEL_LEN: "auto" }).maxModelLen, "auto");
  for (const value of ["1", "most", "4k"]) {
    assertEquals(
      refusal(["--max-model-len", value]),
      `--max-model-len must be auto or an integer of at least 2, got "${value}"`,
    );
  }
});

Deno.test("parseConfig() takes the memory of all, and no growth of a pool that has the rest of it", () => {
  const config = parseConfig(["--gpu-memory-bytes", "8GiB"], {});
  assertEquals(toEngineConfig(config, "").gpuMemoryBytes, 8 * 2 ** 30);
  assertStringIncludes(
    refusal(["--gpu-memory-bytes", "8GiB", "--max-kv-cache-memory-bytes", "1GiB"]),
    "with --gpu-memory-bytes it keeps that size",
  );
});

Deno.test("parseConfig() takes host memory for preempted requests, and answers vLLM's flags in GiB", () => {
  const bytes = (...args: string[]) => toEngineConfig(parseConfig(args, {}), "").swapMemoryBytes;
  assertEquals([bytes(), bytes("--swap-memory-bytes", "0")], [undefined, undefined]);
  assertEquals(bytes("--swap-memory-bytes", "4GiB"), 4 * 2 ** 30);
  for (const name of ["--swap-space", "--kv-offloading-size"]) {
    assertStringIncludes(refusal([name, "4"]), `${name} counts GiB`);
    assertStringIncludes(refusal([`${name}=4`]), "--swap-memory-bytes 4GiB");
  }
});

Deno.test("parseConfig() refuses a token budget smaller than the number of sequences", () => {
  const message = refusal(["--max-num-batched-tokens", "8", "--max-num-seqs", "9"]);
  assertStringIncludes(message, "at least --max-num-seqs (9), got 8");
  const equal = parseConfig(["--max-num-batched-tokens", "9", "--max-num-seqs", "9"], {});
  assertEquals(equal.maxNumBatchedTokens, equal.maxNumSeqs);
});

Deno.test("parseConfig() recognizes help and version as commands and as flags", () => {
  assertEquals(parseConfig(["help"], {}).command, "help");
  assertEquals(parseConfig(["serve", "-h"], { QUIRE_PORT: "bad" }).command, "help");
  assertEquals(parseConfig(["--version"], {}).command, "version");
  assertEquals(parseConfig(["version"], {}).command, "version");
});

Deno.test("parseConfig() answers any arguments with a configuration or a StartupError", () => {
  const word = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(...flagsOf(ConfigSchema).map(({ name }) => `--${name}`)),
    fc.constantFrom("serve", "--", "-", "--port=", "1", "--no-port", "-hV", "--__proto__"),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (args) => {
      try {
        const { port, blockSize } = parseConfig(args, {});
        return port >= 0 && port <= 65535 && blockSize >= 1;
      } catch (error) {
        return error instanceof StartupError && error.message.length > 10;
      }
    }),
    { seed: 5, numRuns: 500 },
  );
});

Deno.test("configHelp() shows every flag with its variable, bounds and default", () => {
  const page = configHelp();
  for (const { name, environment } of flagsOf(ConfigSchema)) {
    assertStringIncludes(page, `  --${name} `);
    assertStringIncludes(page, environment);
  }
  assertStringIncludes(page.replace(/\s+/g, " "), "from 0 to 65535; default 8000; QUIRE_PORT");
  assertEquals(page.split("\n").filter((line) => line.length > 96), []);
});

Deno.test("toEngineConfig() passes on what was set and leaves out what was not", () => {
  assertEquals(toEngineConfig(parseConfig(["--kv-cache-dtype", "f32"], {}), "models/demo"), {
    modelDir: "models/demo",
    device: "auto",
    blockSize: 16,
    kvCacheDtype: "f32",
    enablePrefixCaching: true,
    evictionPolicy: "lru",
    gpuBackend: "deno",
    autotune: "auto",
    logFormat: "text",
    logLevel: "info",
    maxNumSeqs: 64,
    maxNumBatchedTokens: 512,
    maxNumQueuedSeqs: 1024,
    schedulingPolicy: "fcfs",
    longPrefillTokenThreshold: 256,
    maxLongPartialPrefills: 1,
    scheduleConservativeness: 1,
    maxDecodeSteps: 8,
    maxPrefillMs: 1000,
  });
  const args = ["--num-gpu-blocks-override", "9", "--kv-cache-memory-bytes", "1MiB"];
  const config = toEngineConfig(parseConfig([...args, "--max-model-len", "77"], {}), "m");
  assertEquals(
    [config.kvCacheDtype, config.numBlocksOverride, config.kvCacheMemoryBytes, config.maxModelLen],
    ["f16", 9, 1_048_576, 77],
  );
  const isDeterministic = (args: string[], env = {}) =>
    toEngineConfig(parseConfig(args, env), "m").isDeterministic;
  assertEquals(isDeterministic([]), undefined);
  assertEquals(isDeterministic(["--deterministic"]), true);
  assertEquals(isDeterministic([], { QUIRE_DETERMINISTIC: "true" }), true);
  const edges = (...flags: string[]) =>
    toEngineConfig(parseConfig(["--kv-cache-dtype", "int4", ...flags], {}), "m")
      .kvCacheF16EdgeLayers;
  assertEquals(edges(), undefined);
  assertEquals(edges("--kv-cache-f16-edge-layers"), true);
  assertEquals(edges("--no-kv-cache-f16-edge-layers"), false);
});

Deno.test("toEngineConfig() passes on how requests are scheduled", () => {
  const of = (...args: string[]) => {
    const config = toEngineConfig(parseConfig(args, {}), "m");
    const { schedulingPolicy, longPrefillTokenThreshold, scheduleConservativeness } = config;
    return [schedulingPolicy, longPrefillTokenThreshold, scheduleConservativeness];
  };
  assertEquals(of("--max-num-batched-tokens", "129"), ["fcfs", 65, 1]);
  assertEquals(of("--long-prefill-token-threshold", "100"), ["fcfs", 100, 1]);
  assertEquals(of("--long-prefill-token-threshold", "0"), ["fcfs", undefined, 1]);
  assertEquals(of("--scheduling-policy", "lpm", "--schedule-conservativeness", "30"), [
    "lpm",
    256,
    0.3,
  ]);
  const { maxDecodeSteps, maxPrefillMs } = toEngineConfig(
    parseConfig(["--max-decode-steps", "2", "--max-prefill-ms", "300"], {}),
    "m",
  );
  assertEquals([maxDecodeSteps, maxPrefillMs], [2, 300]);
  for (const args of [["--max-decode-steps", "9"], ["--max-prefill-ms", "9"]]) {
    assertThrows(() => parseConfig(args, {}), StartupError, args[0]);
  }
  assertThrows(
    () => parseConfig(["--scheduling-policy", "lifo"], {}),
    StartupError,
    "one of fcfs, priority, lpm, fair",
  );
});

Deno.test("toEngineConfig() passes on a quantization with its group size, from flags or variables", () => {
  const of = (args: string[], env: Record<string, string> = {}) =>
    toEngineConfig(parseConfig(args, env), "m").quantization;
  assertEquals(of([]), undefined);
  assertEquals(of(["--quantization-group-size", "128"]), undefined);
  assertEquals(of(["--quantization", "int8"]), { method: "int8", groupSize: 32 });
  const env = { QUIRE_QUANTIZATION: "int4", QUIRE_QUANTIZATION_GROUP_SIZE: "128" };
  assertEquals(of([], env), { method: "int4", groupSize: 128, vocabulary: "int8" });
  const int4 = { method: "int4", groupSize: 32 } as const;
  const args = ["--quantization", "int4"];
  assertEquals(of(args), { ...int4, vocabulary: "int8", hasMinima: true });
  assertEquals(of([...args, "--quantization-embedding", "int4"]), { ...int4, hasMinima: true });
  // Products of integers take no minima.
  assertEquals(of([...args, "--int8-activations", "auto"]), { ...int4, vocabulary: "int8" });
  assertEquals(of(["--quantization", "none"], env), undefined);
  assertEquals(
    refusal(["--quantization-group-size", "64"]),
    '--quantization-group-size must be one of 32, 128, got "64"',
  );
  assertStringIncludes(refusal(["--quantization", "fp8"]), "one of none, int8, int4");
});

Deno.test("toEngineConfig() quantizes activations where that is asked for, with quantized weights only", () => {
  const of = (...args: string[]) => toEngineConfig(parseConfig(args, {}), "m").int8Activations;
  assertEquals(of("--quantization", "int8"), "off");
  assertEquals(of("--quantization", "int8", "--int8-activations", "on"), "on");
  assertEquals(of("--quantization", "int4", "--int8-activations", "auto"), "auto");
  assertEquals(of("--int8-activations", "auto"), undefined);
  assertEquals(
    refusal(["--int8-activations", "on"]),
    "--int8-activations on needs quantized weights: give --quantization int8 or int4 with it",
  );
});

Deno.test("parseConfig() refuses how far the pool may grow beside the size it is to keep", () => {
  const limit = ["--max-kv-cache-memory-bytes", "1GiB"];
  assertEquals(toEngineConfig(parseConfig(limit, {}), "m").maxKvCacheMemoryBytes, 2 ** 30);
  for (const size of ["--num-gpu-blocks-override", "--kv-cache-memory-bytes"]) {
    const parse = () => parseConfig([...limit, size, "4096"], {});
    assertThrows(parse, StartupError, `with ${size} it keeps that size`);
  }
});

Deno.test("parseConfig() takes an interval of state checkpoints in whole blocks, and names both otherwise", () => {
  const config = parseConfig(["--state-snapshot-interval", "64"], {});
  assertEquals(toEngineConfig(config, "m").stateSnapshotInterval, 64);
  assertEquals(
    refusal(["--state-snapshot-interval", "40"]),
    "--state-snapshot-interval must be a multiple of --block-size (16), got 40",
  );
});
