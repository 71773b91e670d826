import { invariant } from "../base/invariant.ts";
import { withErrorScopes } from "./error_scopes.ts";
import type { DeviceBuffer } from "./kernel.ts";

/** A buffer of a WebGPU device. */
export class GpuDeviceBuffer implements DeviceBuffer {
  constructor(readonly label: string, readonly bytes: number, readonly gpu: GPUBuffer) {}
}

/** A texture of a WebGPU device, in the place of a buffer. */
export class GpuDeviceTexture implements DeviceBuffer {
  readonly isTexture = true;
  constructor(readonly label: string, readonly bytes: number, readonly gpu: GPUTexture) {}
}

/** The memory behind a buffer, which must be of a WebGPU device and no texture. */
export function gpuBuffer(buffer: DeviceBuffer): GPUBuffer {
  invariant(buffer instanceof GpuDeviceBuffer, `buffer ${buffer.label} is not of this GPU`);
  return buffer.gpu;
}

/** What a bind group names: all of a texture, or a buffer from byte `offset` on. */
export function bindingResource(buffer: DeviceBuffer, offset: number): GPUBindingResource {
  return buffer instanceof GpuDeviceTexture
    ? buffer.gpu.createView()
    : { buffer: gpuBuffer(buffer), offset };
}

/**
 * Memory that `make` asks the device for.
 *
 * @throws {RangeError} with the device's reason where it gives none.
 */
export async function allocate<M>(
  device: Pick<GPUDevice, "pushErrorScope" | "popErrorScope">,
  { label, bytes }: { readonly label: string; readonly bytes: number },
  make: () => M,
): Promise<M> {
  const { made, error } = await withErrorScopes(device, ["validation", "out-of-memory"], make);
  if (error) throw new RangeError(`${label} (${bytes} bytes): ${error.message}`);
  return made;
}
