import { assert } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

/** How a bench is run in its quick form: its file in `bench`, then its arguments. */
export type QuickBench = readonly [file: string, ...args: string[]];

/** A tiny model on the reference device: the bench is in doubt there, and not the kernels. */
const TINY = ["--quick", "--device", "cpu", "--shape", "tiny"];

/** Benches of the host's work alone. */
export const HOST_BENCHES: readonly QuickBench[] = [
  ["door.ts", "--quick"],
  ["hybrid_pool.ts"],
  ["kv_memory.ts", "--quick"],
  ["window_attention.ts", "--quick", "--device", "cpu"],
  ["experts.ts", "--quick", "--device", "cpu"],
  ["weight_formats.ts", "--quick", "--device", "cpu"],
  ["loading.ts", "--quick", "--device", "cpu"],
  ["miss_watch.ts", "--quick"],
  ["overload.ts", "--quick"],
  ["tokenize_door.ts", "--quick"],
];

/** Benches of the bundled model on the first device found. */
export const DEMO_BENCHES: readonly QuickBench[] = [
  ["cache_overhead.ts", "--quick"],
  ["first_chat.ts", "--quick", "--device", "cpu"],
  ["kv_quality.ts", "--quick", "int8"],
  ["machine_room.ts", "--quick", "--blocks", "4096"],
  ["observe.ts", "--quick"],
  ["model.ts", "--quick"],
  ["quantization_quality.ts", "--quick"],
  ["serving.ts", "--quick"],
  ["structured_output.ts", "--quick"],
  ["weight_quality.ts", "--quick", "int8g32"],
];

/** Benches of known shapes. */
export const SHAPE_BENCHES: readonly QuickBench[] = [
  ["decode_steps.ts", ...TINY],
  ["deterministic.ts", ...TINY],
  ["encode_ahead.ts", ...TINY],
  ["kernels.ts", ...TINY],
  ["model_shapes.ts", ...TINY],
];

/** Runs a script and returns the result on its last line. */
export async function resultOf(file: string, args: readonly string[]): Promise<unknown> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", file, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(success, `${text}\n${new TextDecoder().decode(stderr)}`);
  return JSON.parse(text.trimEnd().split("\n").at(-1)!);
}

/** A test per bench, that it works and ends with a result in which every number is one. */
export function testQuickly(benches: readonly QuickBench[]): void {
  for (const [file, ...args] of benches) {
    Deno.test(`bench/${file} works (${args.join(" ")})`, async () => {
      const result = await resultOf(`bench/${file}`, args);
      assert(typeof result === "object" && result !== null);
      // What is NaN or infinite is null in JSON.
      assert(!JSON.stringify(result).includes("null"), JSON.stringify(result));
    });
  }
}
