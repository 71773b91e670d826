/**
 * All kernel tests again on Dawn, whose compiler Tint refuses what naga lets pass: barriers and subgroup
 * operations in control flow that is not uniform.
 *
 * They need `npm install --no-save webgpu@0.6.2` in the repository and SwiftShader, a software Vulkan
 * driver that Dawn accepts: `QUIRE_SWIFTSHADER_ICD` names its `vk_swiftshader_icd.json`, which Debian's
 * package `chromium-common` puts into `/usr/lib/chromium`. Since they take minutes there, they run where
 * that is set; elsewhere they are skipped and say so.
 */
import { assert, assertRejects } from "@std/assert";
import { KernelError } from "../../src/core/errors.ts";
import { dawnProvider } from "../../src/device/dawn_provider.ts";
import { kernelCall } from "../../src/device/kernel.ts";
import { BACKEND_VARIABLE, gpuTest } from "../support/agreement.ts";

const ROOT = new URL("../../", import.meta.url);
const SUITE = ["tests/kernels", "tests/device/device_test.ts"];
const ICD = Deno.env.get("QUIRE_SWIFTSHADER_ICD");

/** Why the suite cannot run here; undefined where it can. */
async function obstacle(): Promise<string | undefined> {
  if (ICD === undefined) return "QUIRE_SWIFTSHADER_ICD is not set";
  try {
    await dawnProvider(ROOT.pathname);
    await Deno.stat(ICD);
  } catch (error) {
    return (error as Error).message;
  }
}

if (Deno.env.get(BACKEND_VARIABLE) === undefined) {
  const missing = await obstacle();
  // deno-lint-ignore no-console -- a skip must say why
  if (missing !== undefined) console.warn(`skipped: the kernels on Dawn: ${missing}`);
  Deno.test({
    name: "all kernels agree with their definitions on Dawn, and Tint finds their barriers uniform",
    ignore: missing !== undefined,
    fn: async () => {
      const { success, stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["test", "-A", "--no-check", "--parallel", ...SUITE],
        cwd: ROOT,
        env: {
          [BACKEND_VARIABLE]: "dawn",
          VK_ICD_FILENAMES: ICD!,
          QUIRE_REQUIRE_GPU: "1",
          NO_COLOR: "1",
        },
      }).output();
      assert(success, new TextDecoder().decode(stdout));
    },
  });
} else {
  gpuTest("Tint refuses a barrier that not all lanes reach", async (gpu) => {
    const lanes = await gpu.createBuffer("lanes", 256);
    const call = kernelCall({
      name: "divergent",
      source: `
@group(0) @binding(0) var<storage, read_write> lanes: array<u32>;
@compute @workgroup_size(64)
fn divergent(@builtin(local_invocation_index) index: u32) {
  if (lanes[index] == 0u) { workgroupBarrier(); }
  lanes[index] = index;
}`,
      bindings: [{ name: "lanes", access: "read_write" }],
      reference: () => {},
    }, { constants: {}, buffers: { lanes }, workgroups: () => [1, 1, 1] as const });
    await assertRejects(() => gpu.compile([call]), KernelError, "uniform control flow");
  });
}
