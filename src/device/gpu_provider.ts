import { setIfAbsent } from "../core/environment.ts";
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

/**
 * Deno's own WebGPU (wgpu and naga); undefined where this process has none. On Linux it uses Vulkan
 * alone.
 */
export function denoProvider(): GpuProvider | undefined {
  preferVulkan();
  const gpu: GPU | undefined = navigator.gpu;
  if (gpu === undefined) return undefined;
  return { name: "WebGPU", gpu, dialect: "naga", readback: "blocking" };
}

/** Deno's variable of the backends to use, separated by commas; read with the first adapter. */
const BACKENDS = "DENO_WEBGPU_BACKEND";

/**
 * Has Deno ask for Vulkan alone on Linux, unless the user has chosen.
 *
 * Otherwise OpenGL's libEGL is loaded for its adapters, which serve no purpose here, and about one
 * exit in 150 aborts on a corrupt heap: libEGL's end frees what belongs to threads that end at that
 * moment.
 */
function preferVulkan(): void {
  // Without the permission to set it, OpenGL is loaded as well.
  if (Deno.build.os === "linux") setIfAbsent(BACKENDS, "vulkan");
}
