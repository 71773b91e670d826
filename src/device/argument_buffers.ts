import { alignUp } from "../base/math.ts";
import type { KernelCall } from "./kernel.ts";

/** The arguments of calls in memory of a device, equal ones once: a model has a few dozen. */
export class ArgumentBuffers {
  readonly #device: Pick<GPUDevice, "createBuffer">;
  readonly #buffers = new Map<string, GPUBuffer>();

  constructor(device: Pick<GPUDevice, "createBuffer">) {
    this.#device = device;
  }

  /** u32, in the order of the call's `args`. */
  get({ args = [], constants }: Pick<KernelCall<never>, "args" | "constants">): GPUBuffer {
    const words = Uint32Array.from(args, (name) => Number(constants[name]));
    return this.#buffers.getOrInsertComputed(words.join(), () => this.#make(words));
  }

  #make(words: Uint32Array): GPUBuffer {
    const size = alignUp(words.byteLength, 16);
    const buffer = this.#device.createBuffer({
      label: "args",
      size,
      usage: GPUBufferUsage.UNIFORM,
      mappedAtCreation: true,
    });
    new Uint32Array(buffer.getMappedRange()).set(words);
    buffer.unmap();
    return buffer;
  }
}
