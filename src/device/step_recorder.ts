import type { KernelCall, Workgroups } from "./kernel.ts";
import type { Readback } from "./readback.ts";

/** A call with everything the step loop needs made beforehand. */
export interface PreparedCall<Dims> {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: KernelCall<Dims>["workgroups"];
}

/** A program with the sizes of one step, and bytes `[0, bytes)` to be copied out afterwards. */
export interface RecordedRun<Dims> {
  /** The program's; the same array names the same program. */
  readonly calls: readonly PreparedCall<Dims>[];
  readonly dims: Dims;
  readonly source: GPUBuffer;
  readonly bytes: number;
}

/** A run that is ready to be submitted, once. */
export interface Recording {
  readonly commands: GPUCommandBuffer;
  /** Where its result goes. */
  readonly staging: GPUBuffer;
}

/** What recording needs of a device. */
export type RecordingDevice = Pick<
  GPUDevice,
  "createCommandEncoder" | "queue" | "pushErrorScope" | "popErrorScope"
>;

/** All of a run that its commands depend on; what kernels compute with travels in buffers. */
interface RunShape {
  readonly calls: readonly unknown[];
  readonly workgroups: readonly Workgroups[];
  readonly source: GPUBuffer;
  readonly bytes: number;
}

/**
 * Records runs as command buffers, if asked to before it is known whether they will come to pass.
 *
 * Recording takes 1 to 2 us per call, all of which a GPU would be idle between two steps. The commands of
 * a run depend on its program and its workgroup counts alone, so those of the next step can be recorded
 * while this one is computed: "encode-ahead". At most one recording is kept. After one that was of no
 * use there is no other before an expectation has come true again, so that steps that cannot be foreseen
 * cost at most one recording in vain each time they begin.
 */
export class StepRecorder {
  readonly #device: RecordingDevice;
  readonly #readback: Pick<Readback, "take" | "giveBack">;
  /** What was last foreseen. */
  #expected: RunShape | undefined;
  /** The recording of it. */
  #ahead: Recording | undefined;
  #isForeseeable = true;

  /** `readback` lends the staging buffers. */
  constructor(
    device: RecordingDevice,
    readback: Pick<Readback, "take" | "giveBack">,
  ) {
    this.#device = device;
    this.#readback = readback;
  }

  /**
   * The recording of a run: the one made ahead where its commands are the same, else a new one. It must
   * be submitted, and its staging buffer read.
   */
  take<Dims>(run: RecordedRun<Dims>): Recording {
    const shape = shapeOf(run);
    const { ahead, wasExpected } = { ahead: this.#ahead, wasExpected: this.#isExpected(shape) };
    if (this.#expected !== undefined) this.#isForeseeable = wasExpected;
    if (!wasExpected) this.discard();
    this.#ahead = this.#expected = undefined;
    return wasExpected && ahead !== undefined ? ahead : this.#record(run.calls, shape);
  }

  /** Foresees a run, to be called while the device works: the one that `take` is most likely asked for next. */
  expect<Dims>(run: RecordedRun<Dims>): void {
    this.discard();
    this.#expected = shapeOf(run);
    if (this.#isForeseeable) this.#ahead = this.#record(run.calls, this.#expected);
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
   * Frees commands that will not be run. Left to the garbage collector, which does not see their size, they
   * pile up. A submission that names commands twice is refused, and WebGPU invalidates all it names.
   */
  #invalidate(commands: GPUCommandBuffer): void {
    this.#device.pushErrorScope("validation");
    this.#device.queue.submit([commands, commands]);
    this.#device.popErrorScope().catch(() => {});
  }

  #isExpected({ calls, workgroups, source, bytes }: RunShape): boolean {
    const expected = this.#expected;
    return expected !== undefined && expected.calls === calls && expected.source === source &&
      expected.bytes === bytes && sameWorkgroups(expected.workgroups, workgroups);
  }

  #record<Dims>(
    calls: readonly PreparedCall<Dims>[],
    { workgroups, source, bytes }: RunShape,
  ): Recording {
    const staging = this.#readback.take(bytes);
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let current: GPUComputePipeline | undefined;
    calls.forEach(({ pipeline, bindGroup }, i) => {
      const [x, y, z] = workgroups[i]!;
      if (x === 0 || y === 0 || z === 0) return;
      if (pipeline !== current) pass.setPipeline(current = pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(x, y, z);
    });
    pass.end();
    encoder.copyBufferToBuffer(source, 0, staging, 0, bytes);
    return { commands: encoder.finish(), staging };
  }
}

function shapeOf<Dims>({ calls, dims, source, bytes }: RecordedRun<Dims>): RunShape {
  return { calls, workgroups: calls.map(({ workgroups }) => workgroups(dims)), source, bytes };
}

function sameWorkgroups(some: readonly Workgroups[], others: readonly Workgroups[]): boolean {
  return some.every(([x, y, z], i) => {
    const other = others[i]!;
    return x === other[0] && y === other[1] && z === other[2];
  });
}
