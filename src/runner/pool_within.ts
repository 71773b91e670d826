import type { Model } from "../../models/model.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { ReferenceDevice } from "../device/reference_device.ts";
import { activationBytesFor, longestWithin, type MemoryInputs } from "./fit_context.ts";

/** What is left for a KV pool, bytes. */
export interface PoolWithin {
  readonly activationBytes: number;
  readonly poolBytes: number;
}

/** The settings that decide how much a step takes. */
export type StepSettings =
  & Pick<EngineConfig, "blockSize" | "maxNumSeqs" | "maxNumBatchedTokens">
  & { readonly maxModelLen?: number };

/**
 * The pool of a start with so much memory beside the weights, as `planMemory` divides it, for the
 * longest context that fits. Activations are those of the reference device, since there may be no
 * other: a GPU's differ by what its kernels split. Undefined where not even a token fits.
 */
export function poolWithin(
  model: Model,
  memoryBytes: number,
  { maxModelLen, ...settings }: StepSettings,
): PoolWithin | undefined {
  const inputs: MemoryInputs = {
    device: new ReferenceDevice(),
    config: {
      ...{ modelDir: "", device: "cpu", kvCacheDtype: "f16", enablePrefixCaching: true },
      ...{ maxNumQueuedSeqs: 1, ...settings },
      ...omitUndefined({ maxModelLen }),
    },
    model,
    sources: [],
  };
  const longest = longestWithin(inputs, memoryBytes, 0);
  if (longest < (maxModelLen ?? 1)) return undefined;
  const activationBytes = activationBytesFor(inputs, longest);
  return { activationBytes, poolBytes: memoryBytes - activationBytes };
}
