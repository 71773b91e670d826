import { assertStringIncludes } from "@std/assert";
import type { EngineInfo } from "../../src/core/engine_config.ts";
import { banner } from "../../src/server/banner.ts";

const INFO: EngineInfo = {
  device: "a device",
  deviceKind: "webgpu",
  modelType: "llama",
  numParameters: 2_755_008,
  weightBytes: 2 ** 20,
  vocabSize: 2048,
  maxModelLen: 2048,
  blockSize: 16,
  numBlocks: 1024,
  kvCacheBytes: 2 ** 25,
  kvCacheDtype: "f16",
  maxNumSeqs: 4,
  maxNumBatchedTokens: 64,
  phases: [],
};
const START = { url: "http://localhost:1", modelName: "m", seconds: 1, lacksDriver: false };

Deno.test("banner() says how large the weights are, and how they are quantized", () => {
  assertStringIncludes(banner(INFO, START), "Model    m (llama), 2.8 M parameters, 1.0 MiB\n");
  const quantization = { method: "int4", groupSize: 32 } as const;
  assertStringIncludes(
    banner({ ...INFO, quantization }, START),
    "Model    m (llama), 2.8 M parameters, 1.0 MiB (int4, groups of 32)\n",
  );
});
