import type { Model } from "../../models/model.ts";
import type { Logger } from "../base/log.ts";

/** Most names of tensors in one line of the log. */
const MAX_NAMES = 5;

/**
 * Tensors that checkpoints carry and every implementation computes or ignores, and the head of a
 * classifier, which the server reads.
 */
const HARMLESS = [/(^|\.)rotary_emb\.inv_freq$/, /^score\.weight$/];

/**
 * The tensors of a checkpoint that no weight of the model is made of, in the checkpoint's order,
 * without those that the model, or every implementation, leaves aside. They hint at a config.json
 * that is not the checkpoint's.
 */
export function unusedTensors(
  names: readonly string[],
  { weights, ignoredTensors }: Pick<Model, "weights" | "ignoredTensors">,
): string[] {
  const known = new Set([...weights.flatMap(({ tensors }) => tensors), ...ignoredTensors]);
  return names.filter((name) =>
    !known.has(name) && !HARMLESS.some((pattern) => pattern.test(name))
  );
}

/**
 * Names unused tensors in one line of the log, the first few and their number; none without any.
 */
export function warnOfUnused(log: Logger, unused: readonly string[]): void {
  if (unused.length === 0) return;
  const names = unused.slice(0, MAX_NAMES).join(", ");
  const more = unused.length > MAX_NAMES ? `, and ${unused.length - MAX_NAMES} more` : "";
  log.warn("the checkpoint has tensors that the model does not use: is config.json its own?", {
    count: unused.length,
    tensors: `${names}${more}`,
  });
}
