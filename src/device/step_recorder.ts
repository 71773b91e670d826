import type { KernelCall, Workgroups } from "./kernel.ts";
import type { Readback } from "./readback.ts";

/** A call with everything the step loop needs made beforehand. */
export interface PreparedCall<Dims> {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: KernelCall<Dims>["workgroups"];
}

/** A program with the sizes of one step. */
export interface RecordedPart<Dims> {
  /** Of the program; the same array is the same program. */
  readonly calls: readonly PreparedCall<Dims>[];
  readonly dims: Dims;
}

/**
 * A program, those that follow it, and bytes `[0, bytes)` to be copied out after all of them.
 */
export interface RecordedRun<Dims> extends RecordedPart<Dims> {
  /** Default: none. */
  readonly further?: readonly RecordedPart<Dims>[];
  readonly source: GPUBuffer;
  readonly bytes: number;
}

/** A run that is ready to be submitted, once. */
export interface Recording {
  readonly commands: GPUCommandBuffer;
  /** Where its result goes. */
  readonly staging: GPUBuffer;
}

/** The members of a device that recording uses. */
export type RecordingDevice = Pick<
  GPUDevice,
  "createCommandEncoder" | "queue" | "pushErrorScope" | "popErrorScope"
>;

/** A part of any program; its sizes are those of its calls. */
interface ExpectedPart {
  readonly calls: readonly unknown[];
  readonly dims: unknown;
}

/** A run of any programs. */
interface ExpectedRun extends ExpectedPart {
  readonly further?: readonly ExpectedPart[];
  readonly source: GPUBuffer;
  readonly bytes: number;
}

/**
 * Records runs as command buffers, on request before it is certain that they will be submitted.
 *
 * Recording takes 1 to 2 us per call, all of which a GPU would be idle between two steps. The
 * commands of a run depend on its program and its workgroup counts alone, so those of the next step
 * can be recorded while this one is computed: "encode-ahead". At most one recording is kept. After
 * a miss, nothing is encoded ahead until a prediction is right again, so that a run of steps that
 * cannot be predicted wastes one recording.
 */
export class StepRecorder {
  readonly #device: RecordingDevice;
  readonly #readback: Pick<Readback, "take" | "giveBack">;
  /** The run predicted last. */
  #expected: ExpectedRun | undefined;
  /** Its recording. */
  #ahead: Recording | undefined;
  #isPredictable = true;

  /** @param readback lends the staging buffers. */
  constructor(device: RecordingDevice, readback: Pick<Readback, "take" | "giveBack">) {
    this.#device = device;
    this.#readback = readback;
  }

  /**
   * The recording of a run: the one made ahead where its commands are the same, else a new one. It
   * must be submitted, and its staging buffer read.
   */
  take<Dims>(run: RecordedRun<Dims>): Recording {
    const ahead = this.#ahead;
    const wasExpected = this.#isExpected(run);
    if (this.#expected !== undefined) this.#isPredictable = wasExpected;
    if (!wasExpected) this.discard();
    this.#ahead = this.#expected = undefined;
    return wasExpected && ahead !== undefined ? ahead : this.#record(run);
  }

  /** Predicts the run that `take` is asked for next; called while the device works. */
  expect<Dims>(run: RecordedRun<Dims>): void {
    this.discard();
    this.#expected = run;
    if (this.#isPredictable) this.#ahead = this.#record(run);
  }

  /** Forgets what was recorded ahead: before a buffer goes that it may name. */
  discard(): void {
    if (this.#ahead !== undefined) {
      this.#invalidate(this.#ahead.commands);
      this.#readback.giveBack(this.#ahead.staging);
    }
    this.#ahead = this.#expected = undefined;
  }

  /**
   * Frees commands that will not be run. Left to the garbage collector, which does not see their
   * size, they pile up. A submission that names commands twice is refused (by wgpu and by Dawn),
   * runs nothing, and invalidates all it names.
   */
  #invalidate(commands: GPUCommandBuffer): void {
    this.#device.pushErrorScope("validation");
    this.#device.queue.submit([commands, commands]);
    this.#device.popErrorScope().catch(() => {});
  }

  #isExpected<Dims>(run: RecordedRun<Dims>): boolean {
    const expected = this.#expected;
    if (expected?.source !== run.source || expected.bytes !== run.bytes) return false;
    const further = run.further ?? [];
    const expectedFurther = expected.further ?? [];
    return further.length === expectedFurther.length && isLike(expected, run) &&
      further.every((part, i) => isLike(expectedFurther[i]!, part));
  }

  #record<Dims>({ source, bytes, further = [], ...first }: RecordedRun<Dims>): Recording {
    const staging = this.#readback.take(bytes);
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let current: GPUComputePipeline | undefined;
    for (const { calls, dims } of [first, ...further]) {
      for (const { pipeline, bindGroup, workgroups } of calls) {
        const [x, y, z] = workgroups(dims);
        if (x === 0 || y === 0 || z === 0) continue;
        if (pipeline !== current) pass.setPipeline(current = pipeline);
        pass.setBindGroup(0, bindGroup);
        pass.dispatchWorkgroups(x, y, z);
      }
    }
    pass.end();
    encoder.copyBufferToBuffer(source, 0, staging, 0, bytes);
    return { commands: encoder.finish(), staging };
  }
}

/** Whether a part has the commands of the one that was expected. */
function isLike<Dims>(expected: ExpectedPart, { calls, dims }: RecordedPart<Dims>): boolean {
  if (expected.calls !== calls) return false;
  // Of the same calls, so of their sizes.
  const expectedDims = expected.dims as Dims;
  return sameFields(expectedDims, dims) ||
    calls.every(({ workgroups }) => sameCounts(workgroups(expectedDims), workgroups(dims)));
}

/**
 * Whether two sizes of one program are equal field by field, and lists item by item: a few
 * comparisons instead of all counts.
 */
function sameFields<Dims>(some: Dims, others: Dims): boolean {
  if (some === null || typeof some !== "object") return some === others;
  return (Object.keys(some) as (keyof Dims)[])
    .every((field) => sameFields(some[field], others[field]));
}

function sameCounts([x, y, z]: Workgroups, others: Workgroups): boolean {
  return x === others[0] && y === others[1] && z === others[2];
}
