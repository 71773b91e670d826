import { StartupError } from "../core/errors.ts";
import type { Checkpoint } from "./checkpoint.ts";

/**
 * Where checkpoints of several modalities have the tensors of their text model: a prefix, and the
 * one that the tensors have in a checkpoint of text alone. The oldest have them under that one.
 */
const PREFIXES = [
  ["language_model.model.", "model."],
  ["language_model.lm_head.", "lm_head."],
  ["model.language_model.", "model."],
] as const;

/** Tensors of encoders of images, and of what leads from these to the text model. */
const ENCODERS = /^(model\.)?(visual|vision_tower|vision_model|multi_modal_projector)\./;

/**
 * The text model's tensors of a checkpoint of several modalities, by the names that they have in
 * one of text alone; those of encoders are left out, and never read. Closing it closes the
 * checkpoint.
 *
 * @throws {StartupError} for two tensors that would have one name.
 */
export function textCheckpoint(checkpoint: Checkpoint): Checkpoint {
  const ownNames = new Map<string, string>();
  for (const own of checkpoint.names()) {
    if (ENCODERS.test(own)) continue;
    const name = textName(own);
    const other = ownNames.get(name);
    if (other !== undefined) {
      throw new StartupError(`The weights have two tensors for ${name}: ${other} and ${own}`);
    }
    ownNames.set(name, own);
  }
  const own = (name: string) => ownNames.get(name) ?? name;
  return {
    names: () => [...ownNames.keys()],
    tensor: (name) => ({ ...checkpoint.tensor(own(name)), name }),
    fileOf: (name) => checkpoint.fileOf(own(name)),
    headerDigests: () => checkpoint.headerDigests(),
    readRange: (name, byteOffset, into) => checkpoint.readRange(own(name), byteOffset, into),
    readGroups: (name, rows, dtype) => checkpoint.readGroups(own(name), rows, dtype),
    readBlocks: (name, rows, dtype) => checkpoint.readBlocks(own(name), rows, dtype),
    close: () => checkpoint.close(),
  };
}

function textName(name: string): string {
  const found = PREFIXES.find(([prefix]) => name.startsWith(prefix));
  return found === undefined ? name : found[1] + name.slice(found[0].length);
}
