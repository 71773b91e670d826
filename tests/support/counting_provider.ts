import { denoProvider, type GpuProvider } from "../../src/device/gpu_provider.ts";

/** Deno's own WebGPU, which counts the command encoders that are made and the submissions. */
export class CountingProvider {
  numEncoders = 0;
  numSubmissions = 0;

  /** Undefined where this process has no WebGPU. */
  get provider(): GpuProvider | undefined {
    const provider = denoProvider();
    if (provider === undefined) return undefined;
    const requestAdapter: GPU["requestAdapter"] = async (options) => {
      const adapter = await provider.gpu.requestAdapter(options);
      return adapter && replacing(adapter, {
        requestDevice: async (descriptor) => this.#watch(await adapter.requestDevice(descriptor)),
      });
    };
    return { ...provider, gpu: replacing(provider.gpu, { requestAdapter }) };
  }

  #watch(device: GPUDevice): GPUDevice {
    const submit: GPUQueue["submit"] = (commands) => {
      this.numSubmissions++;
      return device.queue.submit(commands);
    };
    const createCommandEncoder: GPUDevice["createCommandEncoder"] = (descriptor) => {
      this.numEncoders++;
      return device.createCommandEncoder(descriptor);
    };
    return replacing(device, { createCommandEncoder, queue: replacing(device.queue, { submit }) });
  }
}

/** `object` with some of its properties replaced. */
export function replacing<T extends object>(object: T, properties: Partial<T>): T {
  return new Proxy(object, {
    get(target, property) {
      if (property in properties) return properties[property as keyof T];
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
