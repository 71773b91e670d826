import { SCORE_TENSOR } from "../../models/layers.ts";
import type { Model, WeightSpec } from "../../models/model.ts";
import type { Logger } from "../base/log.ts";
import {
  isQuantized,
  matrixBytes,
  type Quantization,
  quantizedFormat,
  type WeightDtype,
} from "../core/weight_format.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { deviceTypes } from "./device_dtypes.ts";
import type { WeightSource } from "./upload_weights.ts";
import { isVector } from "./weight_buffers.ts";

/** Most names of tensors in one line of the log. */
const MAX_NAMES = 5;

/** A tensor that checkpoints carry and every implementation computes. */
const COMPUTED = /(^|\.)rotary_emb\.inv_freq$/;

/**
 * The tensors of a checkpoint that no weight of the model is made of, in the checkpoint's order,
 * without those that the model, or every implementation, leaves aside. They hint at a config.json
 * that is not the checkpoint's.
 */
export function unusedTensors(
  names: readonly string[],
  { weights, ignoredTensors }: Pick<Model, "weights" | "ignoredTensors">,
): string[] {
  // The server reads the head of a classifier itself.
  const read = [...weights.flatMap(({ tensors }) => tensors), SCORE_TENSOR];
  const known = new Set([...read, ...ignoredTensors]);
  return names.filter((name) => !known.has(name) && !COMPUTED.test(name));
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

/**
 * A sentence for the matrices whose rows are too odd for the format that is asked for, and what
 * they become instead; none where all are quantized alike.
 */
export function fallbackNotices(
  sources: readonly Pick<WeightSource, "spec" | "tensors">[],
  quantization: Quantization | undefined,
): string[] {
  if (quantization?.hasMinima !== true) return [];
  const columns = sources.filter(({ spec }) => !isVector(spec) && spec.keepsType !== true)
    .filter(({ spec }) => spec.isVocabulary !== true || quantization.vocabulary === undefined)
    .map(({ tensors }) => tensors[0]!.shape.at(-1)!)
    .filter((columns) => columns % quantization.groupSize !== 0);
  if (columns.length === 0) return [];
  const rows = [...new Set(columns)].sort((a, b) => a - b).join(", ");
  const matrices = columns.length === 1 ? "1 matrix" : `${columns.length} matrices`;
  return [
    `${matrices} with rows of ${rows} become int4 without minima, which lose more: only rows of ` +
    `whole groups of ${quantization.groupSize} have both`,
  ];
}

/** Columns of a row whose bytes per weight are told. */
const SAMPLE_COLUMNS = 1024;

/**
 * One sentence for each kind of blocks in a checkpoint and what it becomes on the device; none for
 * a checkpoint of plain numbers.
 */
export function quantBlockNotices(
  checkpoint: Checkpoint,
  specs: readonly WeightSpec[],
  quantization: Quantization | undefined,
): string[] {
  const known = new Set(checkpoint.names());
  const counts = new Map<string, BlockCount>();
  for (const spec of specs) {
    const tensors = spec.tensors.filter((name) => known.has(name))
      .map((name) => checkpoint.tensor(name));
    if (tensors.length === 0) continue;
    const types = deviceTypes(spec, tensors, quantization);
    for (const { blocks } of tensors) {
      if (blocks === undefined) continue;
      const dtype = types.parts === undefined ? types.dtype : blocks.kept!;
      const key = `${blocks.name} ${dtype}`;
      const isKept = dtype === blocks.kept;
      const entry = counts.get(key) ?? { kind: blocks.name, dtype, isKept, count: 0 };
      counts.set(key, { ...entry, count: entry.count + 1 });
    }
  }
  return [...counts.values()].map(noticeOf);
}

/** Matrices of one kind that become the same. */
interface BlockCount {
  readonly kind: string;
  readonly dtype: WeightDtype;
  /** Whether that holds their blocks with all their bits. */
  readonly isKept: boolean;
  readonly count: number;
}

function noticeOf({ kind, dtype, isKept, count }: BlockCount): string {
  const one = count === 1;
  const matrices = isKept
    ? `${one ? "1 matrix is" : `${count} matrices are`} kept in blocks as`
    : one
    ? "1 matrix becomes"
    : `${count} matrices become`;
  const bits = 8 * matrixBytes(dtype, 1, SAMPLE_COLUMNS) / SAMPLE_COLUMNS;
  const cheaper = isQuantized(dtype) && quantizedFormat(dtype).bits === 8
    ? "; --quantization int4 takes about half"
    : "";
  return `${kind}: ${matrices} ${dtype}, ${bits} bits per weight${cheaper}`;
}
