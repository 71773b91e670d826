/**
 * What llama.cpp makes of given texts:
 * `deno run -A bench/peers/llama_logprobs.ts INSTALL_DIR MODEL KV_TYPE TEXTS OUT`
 *
 * TEXTS is a JSON file of arrays of token ids. OUT becomes the log-probabilities of all tokens at
 * each position of each text, f32, one after the other. KV_TYPE is `F16` or `Q4_0`, for K and V.
 */
import { writeFully } from "./write_fully.ts";

const CONTEXT_LEN = 2048;

async function main([install, modelPath, kvType, texts, out]: readonly string[]): Promise<void> {
  const entry = new URL(`file://${install}/node_modules/node-llama-cpp/dist/index.js`).href;
  const { getLlama } = await import(entry);
  const llama = await getLlama({
    ...{ gpu: false, build: "never", skipDownload: true, progressLogs: false },
  });
  const anyway = { ignoreMemorySafetyChecks: true };
  const model = await llama.loadModel({ modelPath, gpuLayers: 0, ...anyway });
  const context = await model.createContext({
    ...{ contextSize: CONTEXT_LEN, batchSize: CONTEXT_LEN, sequences: 1, flashAttention: true },
    ...{ experimentalKvCacheKeyType: kvType, experimentalKvCacheValueType: kvType },
    ...anyway,
  });
  const sampler = new llama._bindings.AddonSampler(model._model);
  sampler.applyConfig({ temperature: 0 });
  using file = await Deno.create(out!);
  for (const text of JSON.parse(await Deno.readTextFile(texts!)) as number[][]) {
    context._ctx.disposeSequence(0);
    context._ctx.initBatch(text.length);
    const places: Uint32Array = context._ctx.addToBatch(
      ...[0, 0, Uint32Array.from(text), Uint32Array.from(text.keys())],
    );
    await context._ctx.decodeBatch();
    for (const place of places) {
      const [, pairs] = await context._ctx.sampleToken(place, sampler, true);
      const logprobs = new Float32Array(pairs.length / 2);
      for (let i = 0; i < pairs.length; i += 2) logprobs[pairs[i]] = Math.log(pairs[i + 1]);
      await writeFully(file, new Uint8Array(logprobs.buffer));
    }
  }
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
