import { assert, assertEquals } from "@std/assert";
import type { Batch } from "../../src/core/batch.ts";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { withProperties } from "./acting_device.ts";

/**
 * Raw words of each row of logits, by `SEED/INDEX`: its sequence's seed, and which of its tokens it
 * gave.
 */
export type LogitsByDraw = ReadonlyMap<string, Uint32Array>;

/** Reads all logits of a runner back, step by step. */
export class LogitRecorder {
  /** What the runner is to be made on. */
  readonly device: Device;
  readonly #draws = new Map<string, Uint32Array>();
  readonly #vocabSize: number;
  #logits: DeviceBuffer | undefined;

  constructor(device: Device, vocabSize: number) {
    this.#vocabSize = vocabSize;
    this.device = withProperties(device, {
      createBuffer: async (label: string, bytes: number) => {
        const buffer = await device.createBuffer(label, bytes);
        if (label === "logits") this.#logits = buffer;
        return buffer;
      },
    });
  }

  /** What was recorded since the start. */
  get draws(): LogitsByDraw {
    return this.#draws;
  }

  /** Records the logits of a step that has just run; sequences have seeds of their own. */
  async record({ chunks }: Batch): Promise<void> {
    const isDecode = (chunk: Batch["chunks"][number]) => chunk.tokens.length === 1;
    // As the step is packed: decodes first.
    const samples = [...chunks.filter(isDecode), ...chunks.filter((chunk) => !isDecode(chunk))]
      .flatMap(({ draw }) => draw === undefined ? [] : [draw]);
    if (samples.length === 0) return;
    const rowBytes = 4 * this.#vocabSize;
    const bytes = await this.device.read(this.#logits!, 0, samples.length * rowBytes);
    samples.forEach(({ seed, outputIndex }, i) => {
      const key = `${seed}/${outputIndex}`;
      assert(!this.#draws.has(key), `${key} was drawn twice`);
      this.#draws.set(key, new Uint32Array(bytes.slice(i * rowBytes, (i + 1) * rowBytes).buffer));
    });
  }
}

/** Those draws that are of the sequences with the seeds given. */
export function drawsOf(draws: LogitsByDraw, seeds: ReadonlySet<number>): LogitsByDraw {
  return new Map([...draws].filter(([key]) => seeds.has(Number(key.split("/")[0]))));
}

/** The draws whose logits are not the same, bit by bit. */
export function differingDraws(a: LogitsByDraw, b: LogitsByDraw): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((key) => {
    const [one, other] = [a.get(key), b.get(key)];
    return one === undefined || other === undefined || !areEqual(one, other);
  });
}

function areEqual(one: Uint32Array, other: Uint32Array): boolean {
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}

/** Rows that have been seen to be logits: many runs are compared with the same ones. */
const VARIED = new WeakSet<Uint32Array>();

/** Fails where half of a row's words or fewer differ from each other. */
function assertVaried(row: Uint32Array): void {
  if (VARIED.has(row)) return;
  assert(new Set(row).size > row.length / 2, "no logits");
  VARIED.add(row);
}

/** Fails unless both have the same draws with the same bits. */
export function assertSameBits(actual: LogitsByDraw, expected: LogitsByDraw): void {
  assert(expected.size > 0, "nothing was recorded");
  for (const row of expected.values()) assertVaried(row);
  assertEquals(differingDraws(actual, expected), []);
}
