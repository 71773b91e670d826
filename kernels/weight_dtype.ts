/** Element type of a weight matrix in device memory. */
export type WeightDtype = "f32" | "f16" | "bf16";

/** Bytes per element. */
export const WEIGHT_BYTES: Readonly<Record<WeightDtype, number>> = { f32: 4, f16: 2, bf16: 2 };
