/** A buffer of the reference device: one piece of memory, seen as the element types kernels use. */
export class HostBuffer {
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly u16: Uint16Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly f32: Float32Array<ArrayBuffer>;
  readonly #decoded = new Map<string, Float32Array>();

  /** `bytes` is rounded up to a multiple of 4; the memory starts as zeros. */
  constructor(readonly label: string, readonly bytes: number, readonly isTexture = false) {
    const memory = new ArrayBuffer(Math.ceil(bytes / 4) * 4);
    this.u8 = new Uint8Array(memory);
    this.u16 = new Uint16Array(memory);
    this.u32 = new Uint32Array(memory);
    this.f32 = new Float32Array(memory);
  }

  /** Copies `data` to `byteOffset` and forgets what {@link decoded} kept. */
  write(byteOffset: number, data: Uint8Array): void {
    this.u8.set(data, byteOffset);
    this.#decoded.clear();
  }

  /** All elements as f32, as {@link decoded} keeps them. */
  asF32(dtype: "f16" | "bf16" | "f32"): Float32Array {
    if (dtype === "f32") return this.f32;
    const isHalf = dtype === "f16";
    return this.decoded(
      dtype,
      () => isHalf ? new Float32Array(new Float16Array(this.u8.buffer)) : widened(this.u16),
    );
  }

  /**
   * The memory decoded by `decode`, called once per `format`, and kept until the next `write`.
   * For buffers that kernels only read, such as weights; costs 4 bytes per element.
   */
  decoded(format: string, decode: () => Float32Array): Float32Array {
    let values = this.#decoded.get(format);
    if (values === undefined) this.#decoded.set(format, values = decode());
    return values;
  }
}

/**
 * bf16 as f32. A loop, since `from()` lists its values first and ends the process beyond 2^27 of
 * them.
 */
function widened(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}
