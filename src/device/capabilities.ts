/**
 * The compiler of the WGSL: naga (Deno's own WebGPU) or Tint (Dawn). They differ in the directives
 * that enable subgroup operations.
 */
export type WgslDialect = "naga" | "tint";

/**
 * The family of kernel variants for a device: CPU threads, any GPU, or a GPU with subgroup
 * operations. Element types and dot products are independent of it, see {@link Capabilities}.
 */
export type Tier = "software" | "baseline" | "subgroups";

/**
 * One product that a device's matrix units do: a subgroup multiplies M x K by K x N elements and
 * adds the product to M x N sums. Named as WebGPU's `GPUSubgroupMatrixConfig` names them.
 */
export interface MatrixConfig {
  /** Type of the factors: "f16", "f32", "i8" and so on. */
  readonly componentType: string;
  /** Type of the sums. */
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** The features and limits that a device granted, from which tunings are chosen. */
export interface Capabilities {
  readonly tier: Tier;
  readonly dialect: WgslDialect;
  /** Subgroup operations may be used. */
  readonly hasSubgroups: boolean;
  /** Lanes per subgroup, which may differ by kernel between the two; 0 without subgroups. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** `f16` may be used as a type; packed halves in `u32` need no feature. */
  readonly hasF16: boolean;
  /** `dot4I8Packed` and its kin may be used, which GPUs mostly have an instruction for (DP4A). */
  readonly hasPackedDot: boolean;
  /**
   * The products of the device's matrix units; empty where kernels may not use them (without Dawn).
   */
  readonly matrixConfigs: readonly MatrixConfig[];
  /** Passes can be timed on the device. */
  readonly hasTimestamps: boolean;
  /** Bytes of `var<workgroup>` per workgroup. */
  readonly maxWorkgroupBytes: number;
  /** Lanes per workgroup. */
  readonly maxWorkgroupLanes: number;
  /** Texels along a side of a texture (`Device.createTexture`); 0 where kernels cannot read any. */
  readonly maxTextureSide: number;
}

/** The optional features in words, such as `subgroups of 8, f16, packed dot products`. */
export function describeFeatures(capabilities: Capabilities): string {
  const { hasSubgroups, subgroupMinSize, subgroupMaxSize, hasF16 } = capabilities;
  const { hasPackedDot, matrixConfigs } = capabilities;
  const sizes = subgroupMinSize === subgroupMaxSize
    ? `${subgroupMinSize}`
    : `${subgroupMinSize} to ${subgroupMaxSize}`;
  return [
    ...hasSubgroups ? [`subgroups of ${sizes}`] : [],
    ...hasF16 ? ["f16"] : [],
    ...hasPackedDot ? ["packed dot products"] : [],
    ...matrixConfigs.length > 0 ? [`matrix units (${describeMatrices(matrixConfigs)})`] : [],
  ].join(", ") || "no optional features";
}

function describeMatrices(configs: readonly MatrixConfig[]): string {
  const words = configs.map(({ componentType, resultComponentType }) =>
    `${componentType} to ${resultComponentType}`
  );
  return [...new Set(words)].join(", ");
}

/**
 * The directives that must precede a kernel's text. Kernels never write them: naga knows no
 * `enable subgroups` and refuses it, Tint refuses subgroup operations without it.
 */
export function wgslPreamble(
  { dialect, hasSubgroups, hasF16, matrixConfigs }: Pick<
    Capabilities,
    "dialect" | "hasSubgroups" | "hasF16" | "matrixConfigs"
  >,
): string {
  return [
    ...hasF16 ? ["f16"] : [],
    ...dialect === "tint" && hasSubgroups ? ["subgroups"] : [],
    ...matrixConfigs.length > 0 ? ["chromium_experimental_subgroup_matrix"] : [],
  ].map((name) => `enable ${name};\n`).join("");
}
