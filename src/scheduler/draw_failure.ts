import type { DrawFailure, KvDamage } from "../core/batch.ts";
import type { ErrorData } from "../core/errors.ts";

/** Largest number in f16. */
const MAX_F16 = 65504;

/** What a sequence is told of which no token can be drawn, and what its server could do about it. */
export function nonfiniteLogits({ kvDamage }: DrawFailure): ErrorData {
  const details = kvDamage === undefined
    ? {}
    : { details: { layer: kvDamage.layer, position: kvDamage.position } };
  return {
    status: 500,
    type: "server_error",
    code: "nonfinite_logits",
    message: `The model's logits for this sequence are not finite numbers: ${causeOf(kvDamage)}`,
    param: null,
    ...details,
  };
}

function causeOf(damage: KvDamage | undefined): string {
  if (damage === undefined) {
    return "the model overflows after this text, its keys and values do not";
  }
  const { layer, position, dtype, isTooLarge } = damage;
  const where = `keys or values of layer ${layer} at position ${position}`;
  if (dtype !== "f16") return `${where} are not finite, stored in ${dtype}`;
  return isTooLarge
    ? `${where} are beyond ${MAX_F16}, the largest number in f16: a server started with ` +
      `--kv-cache-dtype f32 holds them`
    : `${where} are not finite, and not only in f16, which --kv-cache-dtype could replace`;
}
