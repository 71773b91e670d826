import { StartupError } from "../core/errors.ts";
import type { GpuProvider } from "./gpu_provider.ts";

/** The npm package with Dawn as a native addon, and the version that Quire is tested with. */
export const DAWN_PACKAGE = "webgpu@0.6.2";

const INSTALL = `"npm install --no-save ${DAWN_PACKAGE}"`;

/** The exports of the package that are used. */
interface DawnModule {
  create(options: readonly string[]): GPU;
}

/** Dawn reports matrix units only where experimental features are allowed. */
const OPTIONS = ["enable-dawn-features=allow_unsafe_apis"];

/**
 * Dawn, Chrome's WebGPU, from the npm package `webgpu` that the user installed in `directory` or
 * above.
 *
 * The package is no dependency of Quire: it is looked up in `node_modules` when this is called, and
 * nothing is downloaded. Against Deno's own WebGPU it can wait for results without blocking, and
 * Tint refuses barriers in control flow that is not uniform, which naga does not see. It grants the
 * use of matrix units. `options` are further ones of the package's `create`, such as
 * `backend=null`.
 *
 * @throws {StartupError} where it is not installed or may not be loaded, saying how to go on.
 */
export async function dawnProvider(
  directory: string = Deno.cwd(),
  options: readonly string[] = [],
): Promise<GpuProvider> {
  const { create } = await loadPackage(directory);
  const gpu = create([...OPTIONS, ...options]);
  return { name: "Dawn", gpu, dialect: "tint", readback: "awaited" };
}

async function loadPackage(directory: string): Promise<DawnModule> {
  // By `require`, since an import would have Deno fetch what is not there and note it in deno.lock.
  const { createRequire } = await import("node:module");
  try {
    return createRequire(`${directory}/`)("webgpu") as DawnModule;
  } catch (error) {
    throw new StartupError(`--gpu-backend dawn: ${explain(error, directory)}`);
  }
}

function explain(error: unknown, directory: string): string {
  if (error instanceof Deno.errors.NotCapable) {
    // The addon's loader puts a stack into the message.
    const [refusal] = error.message.split("\n");
    return `${refusal}; native code needs permission, as "deno run -A main.ts serve" gives`;
  }
  if ((error as { code?: unknown }).code === "MODULE_NOT_FOUND") {
    return `the npm package "webgpu" is not installed in ${directory}: ${INSTALL} there gets it`;
  }
  return `the npm package "webgpu" does not load: ${
    error instanceof Error ? error.message : error
  }`;
}
