import { w8a8Variants } from "../../kernels/tuning/w8a8_variants.ts";
import { productOf } from "../../kernels/matmul/product.ts";
import type { StepDims } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import {
  productVariants,
  ROW_CLASSES,
  type RowClass,
  stageVariants,
  type TuningVariant,
} from "../../kernels/tuning/tuning_variants.ts";
import type { KernelCall } from "../device/kernel.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import type { TuningStep } from "./tuning_step.ts";

/** Some calls of a model's graph that are timed together, in steps that stand for their use. */
export interface TimedOperation {
  /** Operation, shape and size of step as text; the same for every model that has it. */
  readonly name: string;
  /** The steps whose times are added up. */
  readonly steps: readonly TuningStep[];
  readonly includes: (call: KernelCall<StepDims>) => boolean;
}

/** An operation that can be run in several ways. */
export interface TunableOperation extends TimedOperation {
  readonly variants: readonly TuningVariant[];
}

/** Longest context in which attention is timed, and most new tokens of a chunk there. */
export const TIMED_CONTEXT = 2048;
const TIMED_CHUNK = 256;
/** Sequences in the larger of the two steps of attention, and rows in that of sampling. */
const TIMED_SEQS = 8;
const TIMED_ROWS = 16;

/**
 * The operations to tune of a model whose graph under `tuning` has `calls`, the most important
 * first: one sequence's decode, then prompts, then batches.
 *
 * Products are found by their calls and named by their shapes. A product whose shape differs by
 * layer is tuned for the first.
 */
export function tunableOperations(
  inputs: RunnerInputs,
  calls: readonly KernelCall<StepDims>[],
  tuning: Tuning,
): TunableOperation[] {
  const [single, ...batches] = ROW_CLASSES;
  const prompts = batches.pop()!;
  const products = (rows: RowClass) => productOperations(inputs, calls, tuning, rows);
  const { tier } = inputs.device.capabilities;
  const prefill = prefillAttention(inputs);
  return [
    ...products(single!),
    { ...decodeAttention(inputs), variants: stageVariants(tier, "decode") },
    { ...sampling(inputs), variants: stageVariants(tier, "sampling") },
    ...products(prompts),
    ...prefill === undefined ? [] : [{ ...prefill, variants: stageVariants(tier, "prefill") }],
    ...batches.flatMap(products),
  ];
}

/** One size of step for each product of the graph that can have so many rows. */
function productOperations(
  inputs: RunnerInputs,
  calls: readonly KernelCall<StepDims>[],
  tuning: Tuning,
  rows: RowClass,
): TunableOperation[] {
  const products = calls.map(productOf).filter((product) => product !== undefined);
  const byLabel = [...Map.groupBy(products, ({ label }) => label).values()];
  return byLabel.flatMap(([first]) => {
    const { label, n, k, dtype, rows: appliesTo, isW8a8 } = first!;
    const step = appliesTo === "draws" ? decodes(inputs, rows) : tokens(inputs, rows);
    if (step === undefined) return [];
    const { tier } = inputs.device.capabilities;
    return [{
      name: `${label} ${n}x${k} ${dtype}${isW8a8 ? " by int8" : ""}, ${rowsText(rows)}`,
      steps: [step],
      variants: isW8a8
        ? w8a8Variants(tier, label, rows)
        : productVariants(tier, tuning, label, rows),
      includes: (call: KernelCall<StepDims>) => call.label === label,
    }];
  });
}

/** Decode attention: alone and in a batch, at a length where it matters. */
export function decodeAttention(inputs: RunnerInputs, most = TIMED_CONTEXT): TimedOperation {
  const context = Math.min(most, longest(inputs));
  const sizes = seqCounts(inputs, TIMED_SEQS);
  return {
    name: `decode attention, ${counted(sizes, "sequence")} of ${context}, ${attentionText(inputs)}`,
    steps: sizes.map((numSeqs) => ({ numSeqs, count: 1, context })),
    includes: isAttention,
  };
}

/** A chunk at the end of a long prompt; undefined where a step has room for one token only. */
function prefillAttention(inputs: RunnerInputs): TimedOperation | undefined {
  const context = Math.min(TIMED_CONTEXT, longest(inputs));
  const count = Math.min(TIMED_CHUNK, inputs.config.maxNumBatchedTokens, context);
  if (count < 2) return undefined;
  return {
    name: `prefill attention, ${count} of ${context} tokens, ${attentionText(inputs)}`,
    steps: [{ numSeqs: 1, count, context }],
    includes: isAttention,
  };
}

function sampling(inputs: RunnerInputs): TimedOperation {
  const sizes = seqCounts(inputs, TIMED_ROWS);
  return {
    name: `sampling, ${counted(sizes, "row")} of ${inputs.model.vocabSize}`,
    steps: sizes.map((numSeqs) => ({ numSeqs, count: 1, context: 1 })),
    includes: ({ kernelName }) => kernelName.startsWith("sample_"),
  };
}

function isAttention({ kernelName }: KernelCall<StepDims>): boolean {
  return kernelName.startsWith("paged_attention");
}

/** Heads of the first layer that has any, for all: they are timed together. */
function attentionText({ model, config }: RunnerInputs): string {
  const { numHeads, numKvHeads, headDim } = model.attention.find((heads) => heads !== undefined)!;
  return `${numHeads} heads over ${numKvHeads} of ${headDim}, ${config.kvCacheDtype} in blocks of ` +
    config.blockSize;
}

/** One sequence, and as many as a step may have up to `most`. */
function seqCounts({ config }: RunnerInputs, most: number): number[] {
  return [...new Set([1, Math.min(most, config.maxNumSeqs)])];
}

function counted(counts: readonly number[], noun: string): string {
  return `${counts.join(" and ")} ${noun}${counts.at(-1) === 1 ? "" : "s"}`;
}

/** Tokens that one sequence may have. */
function longest({ budget, config }: RunnerInputs): number {
  return Math.min(budget.maxModelLen, budget.numBlocks * config.blockSize);
}

/**
 * A step of `timedRows` sequences with one token each; undefined where a step may not have so many.
 */
function decodes(
  { config }: RunnerInputs,
  { minRows, timedRows }: RowClass,
): TuningStep | undefined {
  const numSeqs = Math.min(timedRows, config.maxNumSeqs);
  return numSeqs < minRows ? undefined : { numSeqs, count: 1, context: 1 };
}

/** A step of `timedRows` tokens of one sequence; undefined where a step may not have so many. */
function tokens(inputs: RunnerInputs, { minRows, timedRows }: RowClass): TuningStep | undefined {
  const count = Math.min(timedRows, inputs.config.maxNumBatchedTokens, longest(inputs));
  return count < minRows ? undefined : { numSeqs: 1, count, context: count };
}

function rowsText({ minRows, maxRows }: RowClass): string {
  if (maxRows === 1) return "1 row";
  return maxRows === Infinity ? `${minRows} rows or more` : `${minRows} to ${maxRows} rows`;
}
