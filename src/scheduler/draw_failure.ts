import type { DrawFailure, KvDamage } from "../core/batch.ts";
import type { ErrorData } from "../core/errors.ts";

/** Largest number in f16. */
const MAX_F16 = 65504;

/** The error of a sequence for which no token can be drawn, and the remedy on the server. */
export function nonfiniteLogits(failure: DrawFailure): ErrorData {
  const { kvDamage } = failure;
  const details = kvDamage === undefined
    ? {}
    : { details: { layer: kvDamage.layer, position: kvDamage.position } };
  return {
    status: 500,
    type: "server_error",
    code: "nonfinite_logits",
    message: `The model's logits for this sequence are not finite numbers${causeOf(failure)}`,
    param: null,
    ...details,
  };
}

function causeOf({ numSoundTokens, kvDamage }: DrawFailure): string {
  if (kvDamage !== undefined) return `: ${describe(kvDamage)}`;
  return numSoundTokens === 0
    ? ""
    : ": the model overflows after this text, its keys and values do not";
}

function describe({ layer, position, dtype, isTooLarge }: KvDamage): string {
  const where = `keys or values of layer ${layer} at position ${position}`;
  if (dtype !== "f16") return `${where} are not finite, stored in ${dtype}`;
  return isTooLarge
    ? `${where} are beyond ${MAX_F16}, the largest number in f16: a server started with ` +
      `--kv-cache-dtype f32 holds them`
    : `${where} are not finite, and not only in f16, which --kv-cache-dtype could replace`;
}
