import type { MatrixUnit } from "../../kernels/tuning/matrix_tuning.ts";

/** What NVIDIA's GPUs have. */
export const NVIDIA: MatrixUnit = { type: "f16", m: 16, n: 16, k: 16, lanes: 32 };
/** What AMD's have, whose subgroups may be wider. */
export const AMD: MatrixUnit = { ...NVIDIA, lanes: 64 };
/** What Intel's have. */
export const INTEL: MatrixUnit = { ...NVIDIA, m: 8 };
/** What Apple's have that adds up in f32. */
export const APPLE: MatrixUnit = { type: "f32", m: 8, n: 8, k: 8, lanes: 32 };
/** One with more rows than outputs. */
export const UNEVEN: MatrixUnit = { type: "f16", m: 16, n: 8, k: 8, lanes: 16 };
