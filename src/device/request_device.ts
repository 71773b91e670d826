import type { Capabilities, MatrixConfig } from "./capabilities.ts";
import type { GpuProvider } from "./gpu_provider.ts";

/** Features that kernels, and benches (timestamps), can use. */
const WANTED: readonly GPUFeatureName[] = ["subgroups", "shader-f16", "timestamp-query"];

/**
 * Dawn's name for the use of matrix units. It is asked for only where the adapter lists it, which
 * Deno's never does, since each feature doubles the number of tries below.
 */
const MATRIX_UNITS = "chromium-experimental-subgroup-matrix" as GPUFeatureName;

/** WGSL's language features of `dot4I8Packed`, and of storage textures that can be read. */
const PACKED_DOT = "packed_4x8_integer_dot_product";
const READ_TEXTURES = "readonly_and_readwrite_storage_textures";

/** An opened device, and what it granted. */
export interface GrantedDevice {
  readonly device: GPUDevice;
  readonly capabilities: Capabilities;
}

/**
 * Requests a device with the adapter's limits and as many of the wanted features as it grants.
 *
 * Features are tried, not looked up: Deno grants `subgroups` without listing it. A refusal is
 * answered before a driver is asked, so that the few tries cost nothing.
 */
export async function requestDevice(
  adapter: GPUAdapter,
  { gpu, dialect }: Pick<GpuProvider, "gpu" | "dialect">,
): Promise<GrantedDevice> {
  const { limits, info } = adapter;
  const requiredLimits = {
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxBufferSize: limits.maxBufferSize,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    maxTextureDimension2D: limits.maxTextureDimension2D,
  };
  const device = await firstGranted(
    largestFirst(adapter.features.has(MATRIX_UNITS) ? [...WANTED, MATRIX_UNITS] : WANTED),
    (requiredFeatures) => adapter.requestDevice({ requiredFeatures, requiredLimits }),
  );
  const hasSubgroups = device.features.has("subgroups");
  const known = languageFeatures(gpu);
  return {
    device,
    capabilities: {
      tier: info.isFallbackAdapter ? "software" : hasSubgroups ? "subgroups" : "baseline",
      dialect,
      hasSubgroups,
      subgroupMinSize: hasSubgroups ? info.subgroupMinSize : 0,
      subgroupMaxSize: hasSubgroups ? info.subgroupMaxSize : 0,
      hasF16: device.features.has("shader-f16"),
      hasPackedDot: known.has(PACKED_DOT),
      matrixConfigs: device.features.has(MATRIX_UNITS) ? matrixConfigs(info) : [],
      hasTimestamps: device.features.has("timestamp-query"),
      maxWorkgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
      maxWorkgroupLanes: device.limits.maxComputeInvocationsPerWorkgroup,
      maxTextureSide: known.has(READ_TEXTURES) ? device.limits.maxTextureDimension2D : 0,
    },
  };
}

/** Dawn's list as plain data; its items have getters, and no types here. */
function matrixConfigs(info: GPUAdapterInfo): MatrixConfig[] {
  const { subgroupMatrixConfigs = [] } = info as GPUAdapterInfo & {
    readonly subgroupMatrixConfigs?: Iterable<MatrixConfig>;
  };
  return Array.from(
    subgroupMatrixConfigs,
    ({ componentType, resultComponentType, M, N, K }) => ({
      ...{ componentType, resultComponentType, M, N, K },
    }),
  );
}

/** Deno's types leave this property out. */
function languageFeatures(gpu: GPU): ReadonlySet<string> {
  return (gpu as GPU & { wgslLanguageFeatures?: ReadonlySet<string> }).wgslLanguageFeatures ??
    new Set();
}

/** All subsets in an order in which none comes before one that is larger. */
function largestFirst<T>(items: readonly T[]): T[][] {
  const subsets = items.reduce<T[][]>(
    (some, item) => [...some.map((subset) => [...subset, item]), ...some],
    [[]],
  );
  return subsets.sort((a, b) => b.length - a.length);
}

/** The first answer that is no refusal; the refusal of the last question where there is none. */
async function firstGranted<Q, A>(
  questions: readonly Q[],
  ask: (question: Q) => Promise<A>,
): Promise<A> {
  let refusal: unknown;
  for (const question of questions) {
    try {
      return await ask(question);
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}
