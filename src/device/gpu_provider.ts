import type { WgslDialect } from "./capabilities.ts";

/** An implementation of WebGPU, and what differs between implementations. */
export interface GpuProvider {
  /** Its name for people. */
  readonly name: string;
  readonly gpu: GPU;
  readonly dialect: WgslDialect;
  /**
   * `blocking`: `mapAsync` returns once the queue is idle, with the buffer mapped, and awaiting its
   * promise costs 10 ms (Deno). `awaited`: its promise is worth awaiting, and other work goes on.
   */
  readonly readback: "blocking" | "awaited";
}

/** Deno's own WebGPU (wgpu and naga); undefined where this process has none. */
export function denoProvider(): GpuProvider | undefined {
  const gpu: GPU | undefined = navigator.gpu;
  if (gpu === undefined) return undefined;
  return { name: "WebGPU", gpu, dialect: "naga", readback: "blocking" };
}
