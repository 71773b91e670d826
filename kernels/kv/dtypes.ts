import type { KvCacheDtype } from "../../src/core/engine_config.ts";
import {
  KV_STORAGE,
  type KvStorageTraits,
  type QuantizedKvCacheDtype,
} from "../../src/core/kv_layout.ts";
import { E4M3_MAX, e4m3ToF32, f32ToE4m3 } from "./e4m3.ts";
import { roundToEven } from "../rounding.ts";
import loadF16 from "./_load_f16.wgsl" with { type: "text" };
import loadF32 from "./_load_f32.wgsl" with { type: "text" };
import loadFp8 from "./_load_fp8.wgsl" with { type: "text" };
import loadInt4 from "./_load_int4.wgsl" with { type: "text" };
import loadInt8 from "./_load_int8.wgsl" with { type: "text" };
import kvScale from "./_kv_scale.wgsl" with { type: "text" };
import storeF16 from "./_store_f16.wgsl" with { type: "text" };
import storeF32 from "./_store_f32.wgsl" with { type: "text" };
import storeFp8 from "./_store_fp8.wgsl" with { type: "text" };
import storeInt4 from "./_store_int4.wgsl" with { type: "text" };
import storeInt8 from "./_store_int8.wgsl" with { type: "text" };

/** How the elements of a vector become codes, and codes elements; a vector has one scale. */
export interface KvCode {
  /** The value of the code that a vector's largest magnitude gets. */
  readonly max: number;
  /**
   * Shares of the scale at which that is so, from which the scale of least squared error is sought;
   * none where the scale is that one.
   */
  readonly shares: readonly number[];
  /** Writes the code of element `d`; the bytes were zeros. */
  readonly encode: (codes: Uint8Array, d: number, scaled: number) => void;
  /** The value of the code of element `d`. */
  readonly decode: (codes: Uint8Array, d: number) => number;
}

/** All that kernels know of an element type of K and V. */
export interface KvDtype extends KvStorageTraits {
  /** u32 words of one element of the WGSL array `kv`, where a lane loads no more than it must. */
  readonly loadWords: 1 | 2 | 4;
  /** Whether a lane may load 16 bytes at a time, where a vector is a multiple of that. */
  readonly loadsWide: boolean;
  /**
   * WGSL of loads: `KvLoad`, an element of the array; `kv_quad0(load)` and, with two LOAD_QUADS,
   * `kv_quad1(load)`, four consecutive elements as f32; of codes without their scale, times 1 /
   * KV_UNIT.
   */
  readonly loadWgsl: string;
  /** WGSL of stores, for `rope_store_kv`, or of codes for `rope_store_quantized_kv`. */
  readonly storeWgsl: string;
  /** Of quantized types alone. */
  readonly code?: KvCode;
}

/** A type whose elements are codes. */
export type QuantizedKvDtype = KvDtype & Readonly<{ code: KvCode }>;

/**
 * The element types of K and V, one row each: bits, scale and multiple of a head's elements
 * (`KV_STORAGE`, which planning and budgets read without kernels), codes, loads and WGSL. A new
 * type is a row here, a row there and two fragments.
 */
export const KV_DTYPES:
  & Readonly<Record<Exclude<KvCacheDtype, QuantizedKvCacheDtype>, KvDtype>>
  & Readonly<Record<QuantizedKvCacheDtype, QuantizedKvDtype>> = {
    f16: {
      ...KV_STORAGE.f16,
      ...{ loadWords: 2, loadsWide: true, loadWgsl: loadF16, storeWgsl: storeF16 },
    },
    f32: {
      ...KV_STORAGE.f32,
      ...{ loadWords: 4, loadsWide: false, loadWgsl: loadF32, storeWgsl: storeF32 },
    },
    int8: {
      ...KV_STORAGE.int8,
      ...{ loadWords: 1, loadsWide: false, loadWgsl: loadInt8, storeWgsl: storeInt8 },
      code: {
        max: 127,
        shares: [],
        encode: (codes, d, scaled) => codes[d] = signedRound(scaled, 127),
        decode: (codes, d) => codes[d]! << 24 >> 24,
      },
    },
    fp8: {
      ...KV_STORAGE.fp8,
      ...{ loadWords: 1, loadsWide: false, loadWgsl: loadFp8, storeWgsl: storeFp8 },
      code: {
        max: E4M3_MAX,
        shares: [],
        encode: (codes, d, scaled) => codes[d] = f32ToE4m3(scaled),
        decode: (codes, d) => e4m3ToF32(codes[d]!),
      },
    },
    int4: {
      ...KV_STORAGE.int4,
      ...{ loadWords: 1, loadsWide: false, loadWgsl: loadInt4, storeWgsl: storeInt4 },
      code: {
        max: levelOf(7),
        shares: [0.8, 0.9, 1],
        encode: (codes, d, scaled) =>
          codes[int4Byte(d)]! |= (nearestLevel(scaled) & 15) << int4Shift(d),
        decode: (codes, d) => levelOf(codes[int4Byte(d)]! << 28 - int4Shift(d) >> 28),
      },
    },
  };

/**
 * Loads from the KV pool, before the source of a kernel with {@link KvConstants}; and
 * `kv_scale(load)`.
 */
export const kvLoadWgsl: string = ofEachDtype(({ loadWgsl }) => loadWgsl) + kvScale;

/** Stores to the KV pool, before a kernel's source. */
export const kvStoreWgsl: string = ofEachDtype(({ storeWgsl }) => storeWgsl);

/** The texts of all types, each expanded for its KV_DTYPE only. */
function ofEachDtype(wgsl: (dtype: KvDtype) => string): string {
  return Object.entries<KvDtype>(KV_DTYPES)
    .map(([name, dtype]) => `//# if KV_DTYPE == "${name}"\n${wgsl(dtype)}//# end\n`).join("");
}

/**
 * In int4, a word holds elements `[8w, 8w + 8)`: the low nibbles of its bytes the first four, the
 * high ones the last four, so that either four are unpacked as signed bytes at once.
 */
function int4Byte(d: number): number {
  return (d >> 3) * 4 + d % 4;
}

function int4Shift(d: number): number {
  return d & 4;
}

/**
 * The level of nibble n: `c + c^3 / 128` of `c = n + 1/2`. The steps between levels grow outwards,
 * about as the best levels of normally distributed numbers do (Max 1960): a quarter less squared
 * error than even steps.
 */
function levelOf(n: number): number {
  const c = n + 0.5;
  return c * (1 + c * c / 128);
}

/** The nibble whose level is nearest: counts the middles between levels that are passed. */
function nearestLevel(value: number): number {
  let n = 0;
  while (n < 7 && Math.abs(value) >= (levelOf(n) + levelOf(n + 1)) / 2) n++;
  return value < 0 ? -1 - n : n;
}

function signedRound(value: number, most: number): number {
  const size = Math.min(roundToEven(Math.abs(value)), most);
  return value < 0 ? -size : size;
}
