import { formatByteSize } from "../base/byte_size.ts";
import { StartupError } from "../core/errors.ts";
import { DEFAULT_QUANTIZATIONS } from "../core/weight_format.ts";
import { askedLength, type KvBudget, sequenceBytes } from "./memory_budget.ts";
import {
  activationBytesFor,
  longestWithin,
  type MemoryInputs,
  type MemoryLimit,
} from "./fit_context.ts";
import { weightsSize } from "./weights_size.ts";

const MIB = 2 ** 20;
/** Other files of a repository that are named, the largest that fit. */
const MAX_FILES = 3;

/** What does not fit: a pool of the user's size, or one sequence. */
type Misfit =
  & { readonly limit: MemoryLimit; readonly weightBytes: number }
  & ({ readonly numTokens: number } | { readonly budget: KvBudget });

/** Weights that take less, and how to serve them. */
interface Smaller {
  readonly how: string;
  readonly bytes: number;
  readonly isFile?: boolean;
}

/**
 * Says that a model does not fit in a known amount of memory, and what would: a shorter context, a
 * smaller pool, quantized weights, another file of the same repository, more memory.
 */
export function doesNotFit(inputs: MemoryInputs, misfit: Misfit): StartupError {
  const { config, model } = inputs;
  const { limit, weightBytes } = misfit;
  const isPool = "budget" in misfit;
  const numTokens = isPool ? misfit.budget.maxModelLen : misfit.numTokens;
  const activations = activationBytesFor(inputs, numTokens);
  const kv = isPool ? misfit.budget.bytes : sequenceBytes(config, model, numTokens);
  const total = weightBytes + activations + kv;
  const hasRoom = (bytes: number) =>
    isPool
      ? bytes + activations + kv <= limit.bytes
      : longestWithin(inputs, limit.bytes, bytes) >= numTokens;
  const longest = isPool ? 0 : longestWithin(inputs, limit.bytes, weightBytes);
  const remedies = [
    ...(askedLength(config) !== undefined && longest > 1 ? [`--max-model-len ${longest}`] : []),
    ...(isPool ? smallerPool(limit.bytes - weightBytes - activations) : []),
    ...named(smallerWeights(inputs, weightBytes).filter(({ bytes }) => hasRoom(bytes))),
    ...(limit.isFlag ? [`--gpu-memory-bytes ${Math.ceil(total / MIB)}MiB`] : []),
  ];
  const pool = isPool ? "the KV pool" : `the KV of ${numTokens} tokens`;
  return new StartupError(
    `The model does not fit in ${limit.text}: weights take ${formatByteSize(weightBytes)}, ` +
      `activations ${formatByteSize(activations)} and ${pool} ${formatByteSize(kv)}; ` +
      (remedies.length === 0 ? "nothing smaller of it does" : `what fits: ${listOf(remedies)}`),
  );
}

/** Smaller weights, for the end of a sentence about a device without room; empty without any. */
export function smallerHint(inputs: MemoryInputs, weightBytes: number): string {
  const smaller = smallerWeights(inputs, weightBytes);
  const all = `; all weights take ${formatByteSize(weightBytes)}`;
  return smaller.length === 0 ? all : `${all}, less is ${listOf(named(smaller))}`;
}

function smallerPool(bytes: number): string[] {
  return bytes < MIB ? [] : [`--kv-cache-memory-bytes ${Math.floor(bytes / MIB)}MiB`];
}

/** What takes less than so many bytes, largest first. */
function smallerWeights(
  { sources, device, config }: MemoryInputs,
  weightBytes: number,
): Smaller[] {
  const quantized = Object.values(DEFAULT_QUANTIZATIONS).map((quantization) => ({
    how: `--quantization ${quantization.method}`,
    bytes: weightsSize(sources, quantization, device),
  }));
  const isSmaller = ({ bytes }: Pick<Smaller, "bytes">) => bytes < weightBytes;
  const files = (config.otherFiles ?? []).map(({ name, bytes }) => ({
    how: name,
    bytes,
    isFile: true,
  }))
    .filter(isSmaller).sort((a, b) => b.bytes - a.bytes);
  return [...quantized.filter(isSmaller), ...files];
}

/** As text; of files the first few. */
function named(all: readonly Smaller[]): string[] {
  const files = all.filter(({ isFile }) => isFile === true).slice(0, MAX_FILES);
  return all.filter((each) => each.isFile !== true || files.includes(each))
    .map(({ how, bytes }) => `${how} (weights ${formatByteSize(bytes)})`);
}

function listOf(items: readonly string[]): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} or ${items.at(-1)}`;
}
