import { Buffer } from "node:buffer";
import type { SparseMemory } from "../core/compiled_grammar.ts";

/** Bytes of a page; it divides WebAssembly's own pages. */
const PAGE_BYTES = 4096;
/** Of WebAssembly's own pages, which make up memories. Most are the same: compared whole. */
const WASM_PAGE_BYTES = 65_536;
const ZEROS = new Uint8Array(WASM_PAGE_BYTES);

/**
 * The pages of `memory` that differ from those of `base`, which is all zero where it is absent or
 * ends. O(memory); the contents are in shared memory, so that other threads read them in place.
 */
export function captureMemory(memory: ArrayBuffer, base?: ArrayBuffer): SparseMemory {
  const bytes = new Uint8Array(memory);
  const baseBytes = new Uint8Array(base ?? new ArrayBuffer(0));
  const pages: number[] = [];
  for (let start = 0; start < bytes.length; start += WASM_PAGE_BYTES) {
    if (!differs(bytes, baseBytes, start, WASM_PAGE_BYTES)) continue;
    for (let from = start; from < start + WASM_PAGE_BYTES; from += PAGE_BYTES) {
      if (differs(bytes, baseBytes, from, PAGE_BYTES)) pages.push(from / PAGE_BYTES);
    }
  }
  const contents = new Uint8Array(new SharedArrayBuffer(pages.length * PAGE_BYTES));
  pages.forEach((page, i) => {
    const from = page * PAGE_BYTES;
    contents.set(bytes.subarray(from, from + PAGE_BYTES), i * PAGE_BYTES);
  });
  return { numBytes: memory.byteLength, pages: Uint32Array.from(pages), contents };
}

/** Writes the pages that `sparse` has into a memory, which is at least as large. */
export function restoreMemory(memory: ArrayBuffer, { pages, contents }: SparseMemory): void {
  const bytes = new Uint8Array(memory);
  pages.forEach((page, i) => {
    bytes.set(contents.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES), page * PAGE_BYTES);
  });
}

/** Whether some bytes are others in `base`, which holds all of them or none. */
function differs(bytes: Uint8Array, base: Uint8Array, from: number, count: number): boolean {
  const before = from < base.length ? base.subarray(from, from + count) : ZEROS.subarray(0, count);
  // Native: a loop takes some ten times as long.
  return Buffer.compare(bytes.subarray(from, from + count), before) !== 0;
}
