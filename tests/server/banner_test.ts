import { assert, assertStringIncludes } from "@std/assert";
import { banner } from "../../src/server/banner.ts";
import { placeOf } from "../../src/server/listen.ts";
import { INFO } from "../http/fake_engine.ts";

const SHOWN = {
  url: "http://h:1",
  place: "http://h:1",
  modelName: "m",
  seconds: 1,
  lacksDriver: false,
  needsKey: false,
};

Deno.test("banner() says how far the pool grows by itself, where it does", () => {
  const fixed = banner(INFO, SHOWN);
  assertStringIncludes(fixed, "64 blocks of 16 = 1,024 tokens, 0.1 MiB (f16)\n");
  assert(!fixed.includes("grows"));
  const growing = banner({ ...INFO, maxNumBlocks: 2048 }, SHOWN);
  assertStringIncludes(growing, "0.1 MiB (f16), grows under load up to 2 MiB\n");
});

Deno.test("banner() says where the API is described, and where the key goes in a request", () => {
  const shown = banner(INFO, { ...SHOWN, place: "http://0.0.0.0:1", needsKey: true });
  assertStringIncludes(shown, "API      http://h:1/docs\n");
  assertStringIncludes(shown, "curl -N http://h:1/v1/chat/completions");
  assertStringIncludes(shown, "-H 'authorization: Bearer YOUR_API_KEY'");
});

Deno.test("banner() says which cache groups share the pool, and how many long sequences fit", () => {
  const heads = { numKvHeads: 1, headDim: 8 };
  const groups = [
    { kind: "full", ...heads },
    { kind: "sliding_window", window: 32, ...heads },
  ] as const;
  const shown = banner({
    ...INFO,
    ...{ groups, blocksPerSlab: [2, 2], maxModelLen: 400, maxNumBatchedTokens: 64 },
  }, SHOWN);
  // One sequence takes 13 and 4 of the 64 slabs.
  const words =
    "64 slabs = 1,505 tokens in blocks of 16, shared by full and sliding_window of 32, ";
  assertStringIncludes(shown, words);
  assertStringIncludes(shown, "Fits     3.8 sequences of 400 tokens at once");
});

Deno.test("banner() says how large the weights are, and how they are quantized", () => {
  const plain = banner({ ...INFO, weightBytes: 3 * 2 ** 19 }, SHOWN);
  assertStringIncludes(plain, " parameters, 1.5 MiB\n");
  const quantization = { method: "int4", groupSize: 32 } as const;
  const quantized = banner({ ...INFO, weightBytes: 3 * 2 ** 19, quantization }, SHOWN);
  assertStringIncludes(quantized, " parameters, 1.5 MiB (int4, groups of 32)\n");
  const both = banner({ ...INFO, quantization, hasInt8Activations: true }, SHOWN);
  assertStringIncludes(both, " (int4, groups of 32, int8 activations)\n");
});

Deno.test("banner() says that steps are deterministic, where they are", () => {
  assert(!banner(INFO, SHOWN).includes("deterministic"));
  const shown = banner({ ...INFO, isDeterministic: true }, SHOWN);
  assertStringIncludes(shown, " tokens, deterministic\n");
});

Deno.test("banner() shows where the server really listens, and where a key goes", () => {
  const shown = banner(INFO, { ...SHOWN, ...placeOf("0.0.0.0", 80), needsKey: true });
  assertStringIncludes(shown, "Ready    http://0.0.0.0:80 (every address of this machine)\n");
  assertStringIncludes(shown, "curl -N http://127.0.0.1:80/v1/chat/completions ");
  assertStringIncludes(shown, " -H 'authorization: Bearer YOUR_API_KEY' ");
  assert(!banner(INFO, SHOWN).includes("authorization"));
});
