import type { SparseMemory } from "../core/compiled_grammar.ts";

/** Bytes of a page; a multiple of 4 that divides WebAssembly's own pages of 64 KiB. */
const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;

/**
 * The pages of `memory` that differ from those of `base`, which is all zero where it is absent or
 * ends. O(memory); the contents are in shared memory, so that other threads read them in place.
 */
export function captureMemory(memory: ArrayBuffer, base?: ArrayBuffer): SparseMemory {
  const words = new Int32Array(memory);
  const baseWords = new Int32Array(base ?? new ArrayBuffer(0));
  const pages: number[] = [];
  for (let page = 0; page * PAGE_WORDS < words.length; page++) {
    if (differs(words, baseWords, page * PAGE_WORDS)) pages.push(page);
  }
  const contents = new Uint8Array(new SharedArrayBuffer(pages.length * PAGE_BYTES));
  const bytes = new Uint8Array(memory);
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

/** Whether the page at `from` is another in `base`, which holds it whole or not at all. */
function differs(words: Int32Array, base: Int32Array, from: number): boolean {
  const end = from + PAGE_WORDS;
  if (end <= base.length) {
    for (let i = from; i < end; i++) if (words[i] !== base[i]) return true;
  } else {
    for (let i = from; i < end; i++) if (words[i] !== 0) return true;
  }
  return false;
}
