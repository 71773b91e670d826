import type { DeviceChoice, EngineConfig } from "../src/core/engine_config.ts";
import type { SamplingParams } from "../src/core/sampling_params.ts";
import { bundledModel } from "../src/server/model_directory.ts";

/** Greedy draws that end by `maxTokens` alone. */
export const GREEDY: Omit<SamplingParams, "maxTokens"> = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 0,
  stopTokenIds: [],
};

/** The bundled model with the limits that all benches use, on the device asked for. */
export function demoConfig(device: string): EngineConfig {
  return {
    modelDir: bundledModel().dir,
    device: device as DeviceChoice,
    blockSize: 16,
    kvCacheDtype: "f16",
    enablePrefixCaching: true,
    maxNumSeqs: 64,
    maxNumBatchedTokens: 512,
    maxNumQueuedSeqs: 1000,
  };
}

/** The short hash of the commit that is measured, or "unknown" outside a checkout. */
export async function currentCommit(): Promise<string> {
  const packed = Deno.env.get("QUIRE_COMMIT");
  if (packed !== undefined) return packed;
  const cwd = new URL("../", import.meta.url);
  try {
    const git = new Deno.Command("git", { args: ["rev-parse", "--short", "HEAD"], cwd });
    return new TextDecoder().decode((await git.output()).stdout).trim() || "unknown";
  } catch {
    return "unknown";
  }
}
