import { assert, assertStringIncludes } from "@std/assert";
import { banner } from "../../src/server/banner.ts";
import { INFO } from "../http/fake_engine.ts";

const SHOWN = { url: "http://h:1", modelName: "m", seconds: 1, lacksDriver: false };

Deno.test("banner() says how far the pool grows by itself, where it does", () => {
  const fixed = banner(INFO, SHOWN);
  assertStringIncludes(fixed, "64 blocks of 16 = 1,024 tokens, 0.1 MiB (f16)\n");
  assert(!fixed.includes("grows"));
  const growing = banner({ ...INFO, growthLimit: 2048 }, SHOWN);
  assertStringIncludes(growing, "0.1 MiB (f16), grows under load up to 2 MiB\n");
});

const MODEL = { ...INFO, modelType: "llama", numParameters: 2_755_008, weightBytes: 2 ** 20 };

Deno.test("banner() says how large the weights are, and how they are quantized", () => {
  assertStringIncludes(banner(MODEL, SHOWN), "Model    m (llama), 2.8 M parameters, 1.0 MiB\n");
  const quantization = { method: "int4", groupSize: 32 } as const;
  assertStringIncludes(
    banner({ ...MODEL, quantization }, SHOWN),
    "Model    m (llama), 2.8 M parameters, 1.0 MiB (int4, groups of 32)\n",
  );
});
