/**
 * llama.cpp's likeliest token after each of given tokens, of several models one after the other:
 * `deno run -A bench/peers/forced_llama.ts INSTALL_DIR TOKENS MODEL...`, where TOKENS is a list in
 * JSON. Prints a line per model, {@link PROTOCOL_MARK} and {@link ForcedAnswer} in JSON.
 *
 * Calls llama.cpp's decode on the CPU through the bindings of `node-llama-cpp`, all tokens as one
 * batch, as `llama_peer.ts` does.
 */
import type { AddonContext } from "./llama_addon.ts";
import { PROTOCOL_MARK } from "./peer_task.ts";

/** What llama.cpp makes of one model. */
export type ForcedAnswer = { readonly best: readonly number[] } | { readonly error: string };

/** Opens the bindings; the entry has no types here, since the package is no dependency. */
async function openLlama(install: string) {
  const entry = new URL(`file://${install}/node_modules/node-llama-cpp/dist/index.js`).href;
  const { getLlama } = await import(entry);
  const offline = { gpu: false, build: "never", skipDownload: true, progressLogs: false };
  return await getLlama({ ...offline, maxThreads: 1 });
}

async function main([install, json, ...models]: readonly string[]): Promise<void> {
  const tokens = Uint32Array.from(JSON.parse(json!) as number[]);
  const llama = await openLlama(install!);
  for (const modelPath of models) {
    let answer: ForcedAnswer;
    try {
      const anyway = { ignoreMemorySafetyChecks: true };
      const model = await llama.loadModel({ modelPath, gpuLayers: 0, ...anyway });
      const size = Math.max(256, tokens.length);
      const context = await model.createContext({
        ...{ contextSize: size, batchSize: size, sequences: 1, threads: { ideal: 1, min: 1 } },
        ...anyway,
      });
      const sampler = new llama._bindings.AddonSampler(model._model);
      sampler.applyConfig({ temperature: 0 });
      answer = { best: await bestTokens(context._ctx as AddonContext, sampler, tokens) };
      await model.dispose();
    } catch (error) {
      answer = { error: (error as Error).message };
    }
    // deno-lint-ignore no-console -- its answers are lines on standard output
    console.log(`${PROTOCOL_MARK}${JSON.stringify(answer)}`);
  }
  Deno.exit(0);
}

async function bestTokens(
  context: AddonContext,
  sampler: unknown,
  tokens: Uint32Array,
): Promise<number[]> {
  context.initBatch(tokens.length);
  const places = context.addToBatch(0, 0, tokens, Uint32Array.from(tokens.keys()));
  await context.decodeBatch();
  const best: number[] = [];
  for (const place of places) best.push(await context.sampleToken(place, sampler));
  return best;
}

if (import.meta.main) await main(Deno.args);
