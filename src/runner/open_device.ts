import type { DeviceChoice, GpuBackend } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import { setIfAbsent } from "../core/environment.ts";
import { dawnProvider } from "../device/dawn_provider.ts";
import type { Device } from "../device/device.ts";
import { ReferenceDevice } from "../device/reference_device.ts";
import { WebGpuDevice } from "../device/webgpu_device.ts";

/** How to get a WebGPU adapter where there is none. */
export const DRIVER_HINT =
  "no WebGPU adapter found; a GPU driver with Vulkan, Metal or DX12 gives one, and on Debian or " +
  'Ubuntu "apt-get install mesa-vulkan-drivers libvulkan1" a software adapter';

/**
 * Opens the device asked for.
 *
 * @throws {StartupError} when `webgpu` or another backend than Deno's is asked for and is not
 * there.
 */
export async function openDevice(
  choice: DeviceChoice,
  backend: GpuBackend = "deno",
): Promise<Device> {
  if (choice === "cpu") return new ReferenceDevice();
  // Without it the software adapter's loader warns on every start.
  if (Deno.build.os === "linux") setIfAbsent("XDG_RUNTIME_DIR", "/tmp");
  if (backend === "dawn") return await openDawn();
  const device = await WebGpuDevice.open();
  if (device !== undefined) return device;
  if (choice === "auto") return new ReferenceDevice();
  throw new StartupError(`--device webgpu: ${DRIVER_HINT}`);
}

async function openDawn(): Promise<Device> {
  const device = await WebGpuDevice.open(await dawnProvider());
  if (device !== undefined) return device;
  throw new StartupError(
    "--gpu-backend dawn: Dawn finds no adapter that it accepts; without the flag Deno's own WebGPU " +
      "is asked",
  );
}
