const ENCODER = new TextEncoder();

/** Writes little-endian numbers and length-prefixed strings, one behind the other. */
export class LittleEndianWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  u8(value: number): this {
    const at = this.#add(1);
    this.#view.setUint8(at, value);
    return this;
  }

  /** A negative number is written in two's complement. */
  u32(value: number): this {
    const at = this.#add(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  u64(value: number): this {
    const at = this.#add(8);
    this.#view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  f32(value: number): this {
    const at = this.#add(4);
    this.#view.setFloat32(at, value, true);
    return this;
  }

  string(value: string): this {
    const lengthAt = this.#add(8);
    // UTF-8 has at most three bytes for a unit of UTF-16.
    const start = this.#add(3 * value.length);
    const { written } = ENCODER.encodeInto(value, this.#bytes.subarray(start));
    this.#view.setBigUint64(lengthAt, BigInt(written), true);
    this.#length = start + written;
    return this;
  }

  /** Everything so far. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Makes room for `count` bytes at the end; returns where they begin. */
  #add(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}
