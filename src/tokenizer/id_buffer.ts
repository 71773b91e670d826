/** A growing list of token ids, four bytes each. */
export class IdBuffer {
  #ids = new Uint32Array(256);
  #length = 0;

  push(id: number): void {
    if (this.#length === this.#ids.length) {
      const larger = new Uint32Array(2 * this.#length);
      larger.set(this.#ids);
      this.#ids = larger;
    }
    this.#ids[this.#length++] = id;
  }

  /** A copy of exactly the ids so far. */
  toArray(): Uint32Array<ArrayBuffer> {
    return this.#ids.slice(0, this.#length);
  }
}
