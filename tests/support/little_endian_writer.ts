/** Collects little-endian numbers and length-prefixed strings. */
export class LittleEndianWriter {
  readonly #pieces: Uint8Array[] = [];

  u8(value: number): this {
    return this.#put(1, (view) => view.setUint8(0, value));
  }

  /** A negative number is written in two's complement. */
  u32(value: number): this {
    return this.#put(4, (view) => view.setUint32(0, value, true));
  }

  u64(value: number): this {
    return this.#put(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  f32(value: number): this {
    return this.#put(4, (view) => view.setFloat32(0, value, true));
  }

  string(value: string): this {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.byteLength);
    this.#pieces.push(bytes);
    return this;
  }

  /** Everything so far. */
  bytes(): Uint8Array {
    const out = new Uint8Array(this.#pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.byteLength;
    }
    return out;
  }

  #put(count: number, write: (view: DataView) => void): this {
    const bytes = new Uint8Array(count);
    write(new DataView(bytes.buffer));
    this.#pieces.push(bytes);
    return this;
  }
}
