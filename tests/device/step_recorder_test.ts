import { assert, assertEquals } from "@std/assert";
import {
  type PreparedCall,
  type RecordedRun,
  StepRecorder,
} from "../../src/device/step_recorder.ts";
import type { Workgroups } from "../../src/device/kernel.ts";

interface Dims {
  readonly rows: number;
}

/** A GPU device and its readback that only remember what is asked of them. */
class RecordingRig {
  /** What each recorded command buffer dispatches and copies, in words. */
  readonly recorded: string[] = [];
  readonly #commands = new Map<unknown, string>();
  numStaging = 0;
  numScopes = 0;
  readonly free: GPUBuffer[] = [];
  readonly recorder = new StepRecorder(
    {
      createCommandEncoder: () => this.#encoder(),
      pushErrorScope: () => void this.numScopes++,
      popErrorScope: () => Promise.resolve(null).finally(() => this.numScopes--),
      queue: { submit: (commands: GPUCommandBuffer[]) => this.#refuse(commands) } as GPUQueue,
    },
    {
      take: () => this.free.pop() ?? named<GPUBuffer>(`staging ${this.numStaging++}`),
      giveBack: (staging) => void this.free.push(staging),
    },
  );

  /** Takes a run's recording and gives its staging buffer back, as if it had been read. */
  run(run: RecordedRun<Dims>): string {
    const { commands, staging } = this.recorder.take(run);
    const words = this.#commands.get(commands);
    assert(words !== undefined, "commands are submitted twice");
    this.#commands.delete(commands);
    assert(words.endsWith(`-> ${staging.label}`), "the result goes elsewhere");
    this.free.push(staging);
    return words.slice(0, words.lastIndexOf(" ->"));
  }

  /** Recordings that were neither submitted nor freed. */
  get numAhead(): number {
    return this.#commands.size;
  }

  /** A recorder submits nothing but what is to be refused, where errors are caught. */
  #refuse([commands, again, ...more]: GPUCommandBuffer[]): undefined {
    assertEquals([commands === again, more.length, this.numScopes], [true, 0, 1]);
    assert(this.#commands.delete(commands), "commands are freed twice");
  }

  #encoder(): GPUCommandEncoder {
    const words: string[] = [];
    const pass = {
      setPipeline: ({ label }: GPUComputePipeline) => words.push(label),
      setBindGroup: (_: number, { label }: GPUBindGroup) => words.push(label),
      dispatchWorkgroups: (...counts: number[]) => words.push(counts.join("x")),
      end: () => {},
    };
    return {
      beginComputePass: () => pass,
      copyBufferToBuffer: (from: GPUBuffer, _: number, to: GPUBuffer, __: number, bytes: number) =>
        words.push(`${from.label}[${bytes}] -> ${to.label}`),
      finish: () => {
        const commands = named<GPUCommandBuffer>("commands");
        this.#commands.set(commands, words.join(" "));
        this.recorded.push(words.join(" "));
        return commands;
      },
    } as unknown as GPUCommandEncoder;
  }
}

function named<T>(label: string): T {
  return { label } as T;
}

function call(
  pipeline: GPUComputePipeline,
  name: string,
  workgroups: (dims: Dims) => Workgroups,
): PreparedCall<Dims> {
  return { pipeline, bindGroup: named<GPUBindGroup>(name), workgroups };
}

const p = named<GPUComputePipeline>("p");
const q = named<GPUComputePipeline>("q");
const source = named<GPUBuffer>("drawn");
const CALLS = [
  call(p, "a", ({ rows }) => [rows, 1, 1]),
  call(p, "b", ({ rows }) => [1, rows - 1, 1]),
  call(q, "c", ({ rows }) => [1, 1, Math.ceil(rows / 4)]),
];
/** Equal to `CALLS` but for the array: another program. */
const OTHER = [...CALLS];

function runOf(rows: number, calls: readonly PreparedCall<Dims>[] = CALLS): RecordedRun<Dims> {
  return { calls, dims: { rows }, source, bytes: 8 };
}

Deno.test("StepRecorder.take() sets a pipeline once in a row, and skips calls without work", () => {
  const rig = new RecordingRig();
  assertEquals(rig.run(runOf(3)), "p a 3x1x1 b 1x2x1 q c 1x1x1 drawn[8]");
  assertEquals(rig.run(runOf(1)), "p a 1x1x1 q c 1x1x1 drawn[8]");
});

Deno.test("StepRecorder.take() uses what was recorded ahead for the same counts, once", () => {
  const rig = new RecordingRig();
  const first = rig.run(runOf(3));
  rig.recorder.expect(runOf(3));
  assertEquals(rig.recorded.length, 2);
  assertEquals(rig.run(runOf(3)), first);
  assertEquals(rig.recorded.length, 2);
  rig.run(runOf(3));
  assertEquals(rig.recorded.length, 3);
  assertEquals(rig.numStaging, 1);
});

Deno.test("StepRecorder.take() records what follows in the same commands, and finds that again too", () => {
  const rig = new RecordingRig();
  const run = { ...runOf(1), further: [runOf(3, CALLS.slice(0, 1)), runOf(2, CALLS.slice(0, 1))] };
  rig.recorder.expect(run);
  assertEquals(rig.run(run), "p a 1x1x1 q c 1x1x1 p a 3x1x1 a 2x1x1 drawn[8]");
  assertEquals(rig.recorded.length, 1);
});

Deno.test("StepRecorder.take() compares counts, not the sizes they come from", () => {
  const rig = new RecordingRig();
  const calls = [call(p, "splits", ({ rows }) => [Math.ceil(rows / 64), 1, 1])];
  rig.recorder.expect(runOf(127, calls));
  rig.run(runOf(128, calls));
  assertEquals(rig.recorded.length, 1);
  rig.recorder.expect(runOf(128, calls));
  assertEquals(rig.run(runOf(129, calls)), "p splits 3x1x1 drawn[8]");
});

Deno.test("StepRecorder.take() never uses a recording of other counts, program, source or size", () => {
  const axis = (at: number) => [
    call(p, "a", ({ rows }) => [1, 1, 1].with(at, rows) as unknown as Workgroups),
  ];
  const cases: [RecordedRun<Dims>, RecordedRun<Dims>][] = [
    ...[0, 1, 2].map(axis).map((calls): [RecordedRun<Dims>, RecordedRun<Dims>] => [
      runOf(3, calls),
      runOf(4, calls),
    ]),
    [runOf(3), runOf(3, OTHER)],
    [runOf(3), { ...runOf(3), source: named<GPUBuffer>("other") }],
    [runOf(3), { ...runOf(3), bytes: 12 }],
    [runOf(3), { ...runOf(3), further: [runOf(3)] }],
    [{ ...runOf(3), further: [runOf(3)] }, runOf(3)],
    [{ ...runOf(3), further: [runOf(3)] }, { ...runOf(3), further: [runOf(4)] }],
    [{ ...runOf(3), further: [runOf(3)] }, { ...runOf(3), further: [runOf(3, OTHER)] }],
  ];
  for (const [expected, actual] of cases) {
    const alone = new RecordingRig().run(actual);
    const rig = new RecordingRig();
    rig.recorder.expect(expected);
    assertEquals(rig.run(actual), alone);
    assertEquals(rig.recorded.length, 2);
    assertEquals(rig.free.length, rig.numStaging, "a staging buffer is lost");
    assertEquals(rig.numAhead, 0);
  }
});

Deno.test("StepRecorder.expect() waits after a recording in vain until it has foreseen a run", () => {
  const rig = new RecordingRig();
  const step = (rows: number) => {
    const before = rig.recorded.length;
    rig.run(runOf(rows));
    const during = rig.recorded.length;
    rig.recorder.expect(runOf(rows));
    return [during - before, rig.recorded.length - during];
  };
  // Recorded now, and ahead.
  assertEquals(step(2), [1, 1]);
  assertEquals(step(2), [0, 1]);
  assertEquals(step(3), [1, 0]);
  assertEquals(step(4), [1, 0]);
  assertEquals(step(4), [1, 1]);
  assertEquals(step(4), [0, 1]);
  assertEquals(rig.numStaging, 1);
});

Deno.test("StepRecorder.take() learns nothing of steps of which nothing was expected", () => {
  const rig = new RecordingRig();
  rig.recorder.expect(runOf(2));
  rig.run(runOf(2));
  for (const rows of [7, 8]) rig.run(runOf(rows));
  rig.recorder.expect(runOf(8));
  assertEquals(rig.recorded.length, 4);
});

Deno.test("StepRecorder.discard() frees the recording and gives its staging buffer back", () => {
  const rig = new RecordingRig();
  rig.recorder.expect(runOf(2));
  assertEquals([rig.free.length, rig.numAhead], [0, 1]);
  rig.recorder.discard();
  rig.recorder.discard();
  assertEquals([rig.free.length, rig.numAhead], [1, 0]);
  rig.run(runOf(2));
  assertEquals(rig.recorded.length, 2);
  assertEquals(rig.numStaging, 1);
});
