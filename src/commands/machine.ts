import type { GpuBackend } from "../core/engine_config.ts";
import { type Environment, processEnvironment } from "../core/environment.ts";
import { describeFeatures } from "../device/capabilities.ts";
import { freeBytesAt } from "../hub/disk_space.ts";
import { listModels } from "../hub/list_models.ts";
import { openDevice } from "../runner/open_device.ts";
import { type IsGranted, isGranted } from "./permissions.ts";

/** The device that would run a model. */
export interface FoundDevice {
  readonly kind: "webgpu" | "cpu";
  readonly description: string;
  readonly features: string;
  readonly tier: string;
  /** Largest buffer that a kernel can read, bytes. */
  readonly maxBindingBytes: number;
}

/** What the cache of models holds. */
export interface FoundModels {
  readonly numModels: number;
  readonly numBytes: number;
}

/** What `quire doctor` asks a machine; undefined stands for what cannot be found out. */
export interface Machine {
  readonly denoVersion: string;
  readonly os: string;
  readonly arch: string;
  readonly numCores: number;
  readonly env: Environment;
  readonly isGranted: IsGranted;
  device(backend: GpuBackend): Promise<FoundDevice>;
  /** Total and available bytes. */
  memory(): { readonly total: number; readonly available: number } | undefined;
  freeBytes(path: string): number | undefined;
  /** Names in a folder; undefined where it cannot be read, or is not there. */
  names(folder: string): readonly string[] | undefined;
  canOpen(path: string): boolean;
  models(cacheDir: string): FoundModels;
  /** Why nothing can listen there; undefined where it can. */
  whyNotFree(host: string, port: number): string | undefined;
}

/** The machine that this process runs on. */
export const thisMachine: Machine = {
  denoVersion: Deno.version.deno,
  os: Deno.build.os,
  arch: Deno.build.arch,
  numCores: navigator.hardwareConcurrency,
  env: processEnvironment(),
  isGranted,
  async device(backend) {
    const { kind, description, capabilities, maxBindingBytes } = await openDevice("auto", backend);
    const { tier } = capabilities;
    return { kind, description, features: describeFeatures(capabilities), tier, maxBindingBytes };
  },
  memory() {
    if (!isGranted({ name: "sys", kind: "systemMemoryInfo" })) return undefined;
    const { total, available } = Deno.systemMemoryInfo();
    return { total, available };
  },
  freeBytes: freeBytesAt,
  names(folder) {
    return attempt(() => [...Deno.readDirSync(folder)].map(({ name }) => name), folder);
  },
  canOpen(path) {
    return attempt(() => {
      Deno.openSync(path, { read: true, write: true }).close();
      return true;
    }, path) ?? false;
  },
  models(cacheDir) {
    const { models, numBytes } = listModels(cacheDir);
    return { numModels: models.length, numBytes };
  },
  whyNotFree(hostname, port) {
    try {
      Deno.listen({ hostname, port }).close();
      return undefined;
    } catch (error) {
      return error instanceof Deno.errors.AddrInUse
        ? "another program listens there"
        : (error as Error).message;
    }
  },
};

/** What `work` finds at a path that may be read; undefined where it fails. */
function attempt<T>(work: () => T, path: string): T | undefined {
  if (!isGranted({ name: "read", path })) return undefined;
  try {
    return work();
  } catch {
    return undefined;
  }
}
