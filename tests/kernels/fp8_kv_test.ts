import { assertEquals } from "@std/assert";
import { e4m3ToF32, f32ToE4m3 } from "../../kernels/kv/e4m3.ts";
import { kvBlockWords, kvWords } from "../../kernels/kv/kv_cache.ts";
import { pagedAttentionCalls } from "../../kernels/attention/paged_attention.ts";
import { ropeStoreKvCall } from "../../kernels/kv/rope_store_kv.ts";
import { STEP } from "../../kernels/step.ts";
import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import { gpuTest, runBoth } from "../support/agreement.ts";
import { packStep } from "../support/step_fixture.ts";

/** One head whose V holds every code once, at a scale of 1; the two codes of NaN give way to 0. */
const SHAPE = { H: 1, G: 1, D: 256, BLOCK_SIZE: 4, KV_DTYPE: "fp8" } as const;
/** Compiled quickly. */
const TUNING = { ...SOFTWARE_TUNING, positionTile: 1 };
const CODES = Uint8Array.from({ length: 256 }, (_, code) => (code & 0x7f) === 0x7f ? 0 : code);
const STEP_OF_ONE = packStep([{ start: 0, count: 1 }], {
  blockSize: SHAPE.BLOCK_SIZE,
  numBlocks: 2,
  queryTile: 8,
});

/** Stores one position whose V is `values` and returns the bytes of its codes. */
async function storedCodes(gpu: Parameters<typeof runBoth>[0], values: ArrayLike<number>) {
  const { actual, expected } = await runBoth(
    gpu,
    {
      step: STEP_OF_ONE.words,
      rope: new Float32Array(SHAPE.D).fill(1),
      qkv: new Float32Array([...new Float32Array(2 * SHAPE.D), ...Array.from(values)]),
      kv: new Uint32Array(2 * kvBlockWords(SHAPE)),
    },
    (b) => [ropeStoreKvCall(SHAPE, b as never)],
    STEP_OF_ONE.dims,
    "kv",
  );
  assertEquals(actual.u32, expected.u32);
  const slot = STEP_OF_ONE.words[STEP_OF_ONE.words[STEP.slots]!]!;
  const { first, end, scale } = kvWords({ slot, which: 1, head: 0 }, SHAPE);
  assertEquals(actual.f32[scale], 1);
  return actual.u8.slice(4 * first, 4 * end);
}

gpuTest("rope_store_kv stores every value of e4m3 as its own code", async (gpu) => {
  assertEquals(await storedCodes(gpu, Array.from(CODES, e4m3ToF32)), CODES);
});

gpuTest("rope_store_kv rounds values between two of e4m3 to the even code", async (gpu) => {
  const values = Float32Array.from(CODES, (code) => {
    const isTop = (code & 0x7f) >= 0x7e;
    return isTop ? e4m3ToF32(code) : (e4m3ToF32(code) + e4m3ToF32(code + 1)) / 2;
  });
  assertEquals(await storedCodes(gpu, values), Uint8Array.from(values, f32ToE4m3));
});

gpuTest("paged attention reads every code of e4m3 as its value", async (gpu) => {
  const kv = new Uint32Array(2 * kvBlockWords(SHAPE)).fill(0xffffffff);
  const slot = STEP_OF_ONE.words[STEP_OF_ONE.words[STEP.slots]!]!;
  for (const which of [0, 1] as const) {
    const { first, end, scale } = kvWords({ slot, which, head: 0 }, SHAPE);
    kv.set(which === 1 ? new Uint32Array(CODES.buffer) : new Uint32Array(end - first), first);
    new Float32Array(kv.buffer)[scale] = 1;
  }
  const contents = {
    step: STEP_OF_ONE.words,
    qkv: new Float32Array(3 * SHAPE.D),
    kv,
    partials: new Float32Array(SHAPE.D),
    stats: new Float32Array(2),
    out: new Float32Array(SHAPE.D),
  };
  const calls = (b: object) => pagedAttentionCalls(SHAPE, b as never, TUNING);
  const { actual, expected } = await runBoth(gpu, contents, calls, STEP_OF_ONE.dims, "out");
  // Sums begin at +0, which swallows the sign of a zero.
  const values = Float32Array.from(CODES, (code) => e4m3ToF32(code) + 0);
  assertEquals(actual.f32.map((value) => value + 0), values);
  assertEquals(expected.f32.map((value) => value + 0), values);
});
