import type { DeviceChoice } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import type { Device } from "../device/device.ts";
import { ReferenceDevice } from "../device/reference_device.ts";
import { WebGpuDevice } from "../device/webgpu_device.ts";

/** How to get a WebGPU adapter where there is none. */
export const DRIVER_HINT =
  "no WebGPU adapter found; a GPU driver with Vulkan, Metal or DX12 gives one, and on Debian or " +
  'Ubuntu "apt-get install mesa-vulkan-drivers libvulkan1" a software adapter';

/** Opens the device asked for. @throws {StartupError} when `webgpu` is asked for and there is none. */
export async function openDevice(choice: DeviceChoice): Promise<Device> {
  if (choice === "cpu") return new ReferenceDevice();
  // Without it the software adapter's loader warns on every start.
  if (!Deno.env.has("XDG_RUNTIME_DIR") && Deno.build.os === "linux") {
    Deno.env.set("XDG_RUNTIME_DIR", "/tmp");
  }
  const device = await WebGpuDevice.open();
  if (device !== undefined) return device;
  if (choice === "auto") return new ReferenceDevice();
  throw new StartupError(`--device webgpu: ${DRIVER_HINT}`);
}
