import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { readModel } from "../../models/registry.ts";
import { parseConfig, toEngineConfig } from "../../src/core/config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { parsePlanConfig } from "../../src/core/plan_config.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { planMemory } from "../../src/runner/plan_memory.ts";
import { weightSources } from "../../src/runner/upload_weights.ts";
import { planCommand } from "../../src/server/plan_command.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import { withModelDir } from "../weights/checkpoint_files.ts";
import { smallGguf } from "../weights/gguf/small_gguf.ts";

function run(...args: string[]): string {
  return planCommand(parsePlanConfig(args, {})!);
}

function refusal(...args: string[]): string {
  return assertThrows(() => run(...args), StartupError).message;
}

Deno.test("planCommand() plans for the bundled model, a preset or a directory", () => {
  assertStringIncludes(run(), "Model    quire-demo, 6 layers, at most 2,048 tokens");
  assertStringIncludes(run("Qwen3-0.6B"), "Model    qwen3-0.6b, 28 layers");
  assertStringIncludes(run("models/demo/"), "Model    demo, 6 layers");
});

Deno.test("planCommand() plans for a GGUF file, and for the one in a directory", () => {
  withModelDir({ "small-Q8_0.gguf": smallGguf() }, (dir) => {
    const line = "Model    small-Q8_0, 1 layers, at most 64 tokens";
    assertStringIncludes(run(`${dir}/small-Q8_0.gguf`), line);
    assertStringIncludes(run(dir), ", 1 layers, at most 64 tokens");
    assertStringIncludes(refusal(`${dir}/missing.gguf`), "nor a GGUF file, nor a preset");
  });
});

Deno.test("planCommand() passes every setting on and prints JSON on one line", () => {
  const args = ["--memory", "1GiB", "--block-size", "32", "--max-model-len", "2048"];
  const text = run("qwen3-0.6b", ...args, "--max-num-batched-tokens", "64", "--json");
  const { memory_bytes, block_size, max_model_len, max_num_batched_tokens } = JSON.parse(text);
  assertEquals(
    [memory_bytes, block_size, max_model_len, max_num_batched_tokens],
    [2 ** 30, 32, 2048, 64],
  );
  assertEquals(text.includes("\n"), false);
});

Deno.test("planCommand() divides a device's memory as a start with the same flag does", () => {
  const gpuMemoryBytes = 64 * 2 ** 20;
  const text = run("models/demo", "--gpu-memory-bytes", "64MiB", "--json");
  const { memory_bytes, division, dtypes } = JSON.parse(text);
  const checkpoint = findModelSource("models/demo").openCheckpoint();
  const model = readModel("models/demo");
  const sources = weightSources(checkpoint, model.weights);
  checkpoint.close();
  const config = {
    ...toEngineConfig(parseConfig(["serve"], {}), "models/demo"),
    ...{ gpuMemoryBytes, device: "cpu" as const },
  };
  const start = planMemory({ device: new ReferenceDevice(), config, model, sources });
  assertEquals(division.weights.bytes, start.weightBytes);
  assertEquals(division.activation_bytes, start.activationBytes);
  assertEquals(division.total_bytes, gpuMemoryBytes);
  assertEquals(memory_bytes, gpuMemoryBytes - start.weightBytes - start.activationBytes);
  // The plan's own count of blocks, of a pool that the start cuts into whole ones.
  assertEquals(
    dtypes.find((row: { dtype: string }) => row.dtype === "f16").num_blocks,
    start.budget.numBlocks,
  );
  const words =
    "Memory   64 MiB: weights 5.26 MiB in f16, activations 7.13 MiB, and 51.6 MiB for KV";
  assertStringIncludes(run("models/demo", "--gpu-memory-bytes", "64MiB"), words);
});

Deno.test("planCommand() says what would fit where weights leave nothing of a device's memory", () => {
  assertEquals(
    refusal("llama-3.1-8b", "--gpu-memory-bytes", "12GiB"),
    "--gpu-memory-bytes 12 GiB leaves too little for activations and KV: the weights take 15 GiB; " +
      "smaller are --quantization int8 (7.95 GiB) and --quantization int4 (4.7 GiB)",
  );
  const small = run("llama-3.1-8b", "--gpu-memory-bytes", "12GiB", "--quantization", "int8");
  assertStringIncludes(small, "Memory   12 GiB: weights 7.95 GiB in int8");
});

Deno.test("planCommand() compares allocators on a file of lengths", () => {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, "100 20\n300 40\n");
    const { traffic } = JSON.parse(run("--lengths", file, "--json"));
    assertEquals(traffic.length, 1);
    assertEquals([traffic[0].name, traffic[0].num_requests], [file, 2]);
    Deno.writeTextFileSync(file, "100\n");
    assertStringIncludes(refusal("--lengths", file), `${file}: line 1 is "100": must be`);
  } finally {
    Deno.removeSync(file);
  }
  assertEquals(refusal("--lengths", "tests"), '--lengths "tests" is not a file');
  assertEquals(refusal("--lengths", "no-such"), '--lengths "no-such" is not a file');
});

Deno.test("planCommand() refuses an unknown model with the nearest preset or all of them", () => {
  assertEquals(
    refusal("llama-2-8b"),
    '--model "llama-2-8b" is neither a directory with a config.json, nor a GGUF file, nor a preset: ' +
      "did you mean llama-2-7b?",
  );
  assertStringIncludes(refusal("./nowhere/to/be/found/at/all"), "presets are quire-demo, smollm2");
  assertStringIncludes(refusal("tests"), "tests/config.json is missing");
});
