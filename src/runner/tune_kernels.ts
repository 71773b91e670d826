import type { Tuning } from "../../kernels/tuning/tuning.ts";
import { DEFAULT_VARIANT, type TuningVariant } from "../../kernels/tuning/tuning_variants.ts";
import type { TunedOperation } from "../state/tuning_store.ts";
import { layerKvs } from "./kv_memory.ts";
import { forwardGraph } from "./build_runner.ts";
import { OperationTimer, type OperationTimerOptions } from "./operation_timer.ts";
import { defaultTuning } from "./default_tuning.ts";
import { type TunableOperation, tunableOperations } from "./tunable_operations.ts";

/** Earlier choices for a model's operations, and how long more may be timed. */
export interface TuneOptions extends OperationTimerOptions {
  /** Earlier choices; an operation that is named here is not timed. */
  readonly known: readonly TunedOperation[];
  /** No operation is begun after so many milliseconds; one takes up to some hundred. */
  readonly limitMs: number;
  /** Called with the number of operations timed so far, and of those to time. */
  readonly onProgress?: (numDone: number, numAll: number) => void;
}

/** The result of tuning a model. */
export interface TunedKernels {
  readonly tuning: Tuning;
  /** All choices that the tuning consists of, in order of weight. */
  readonly operations: readonly TunedOperation[];
  /** The choices that were timed now. */
  readonly timed: readonly TunedOperation[];
  /** Operations that there was no time for: they run as the device's tuning has them. */
  readonly numLeft: number;
}

/** Share of its time that a variant must save to be chosen over the default: less may be noise. */
const LEAST_GAIN = 0.03;

/**
 * Chooses for every operation of a model the fastest variant: as it was chosen before, or by timing
 * all.
 *
 * @throws {KernelError} when a kernel of the device's default tuning does not compile.
 */
export async function tuneKernels(options: TuneOptions): Promise<TunedKernels> {
  const { inputs, memory, known, limitMs, now, onProgress = () => {} } = options;
  const tuning = defaultTuning(inputs.device, inputs.config);
  const { activations, storage } = memory;
  const kv = layerKvs(inputs.model, inputs.config, storage.buffers);
  const graph = forwardGraph(inputs, { activations, kv }, tuning);
  const before = new Map(known.map((record) => [record.operation, record]));
  const operations = tunableOperations(inputs, graph, tuning).map((operation) => ({
    operation,
    record: checked(before.get(operation.name), operation),
  }));
  const numUnknown = operations.filter(({ record }) => record === undefined).length;
  const timer = new OperationTimer(options);
  const until = now() + limitMs;
  const timed: TunedOperation[] = [];
  const chosen: TunedOperation[] = [];
  let tuned = tuning;
  for (const { operation, record } of operations) {
    const isTimed = record === undefined && now() < until;
    const choice = isTimed ? await timeOperation(timer, operation, options, tuning) : record;
    if (choice === undefined) continue;
    chosen.push(choice);
    tuned = variantOf(operation, choice)!.apply(tuned);
    if (isTimed) onProgress(timed.push(choice), numUnknown);
  }
  return { tuning: tuned, operations: chosen, timed, numLeft: numUnknown - timed.length };
}

async function timeOperation(
  timer: OperationTimer,
  operation: TunableOperation,
  { inputs }: TuneOptions,
  tuning: Tuning,
): Promise<TunedOperation> {
  const micros = await timer.time(
    operation,
    operation.variants.map(({ name, apply }) => ({ name, inputs, tuning: apply(tuning) })),
  );
  return { operation: operation.name, variant: fastest(micros), micros };
}

/** The name of the variant to use: `usual` unless another is clearly faster. */
export function fastest(
  micros: Readonly<Record<string, number>>,
  usual: string = DEFAULT_VARIANT,
): string {
  const [name, least] = Object.entries(micros).reduce((a, b) => b[1] < a[1] ? b : a);
  const isClear = least <= (1 - LEAST_GAIN) * (micros[usual] ?? Infinity);
  return isClear ? name : usual;
}

/** A choice that names a variant there is. */
function checked(
  record: TunedOperation | undefined,
  operation: TunableOperation,
): TunedOperation | undefined {
  return record === undefined || variantOf(operation, record) === undefined ? undefined : record;
}

function variantOf(
  { variants }: TunableOperation,
  { variant }: TunedOperation,
): TuningVariant | undefined {
  return variants.find(({ name }) => name === variant);
}
