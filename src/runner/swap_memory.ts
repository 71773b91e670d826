import { crc32 } from "node:zlib";
import type { Batch, BlockLoad, BlockSwap } from "../core/batch.ts";
import type { SequenceId } from "../core/ids.ts";
import type { SwapTimes } from "../core/swap_space.ts";
import type { BufferRange, Device, RangeReader } from "../device/device.ts";
import type { KvStorage } from "./kv_storage.ts";
import type { SwapLayout } from "./swap_layout.ts";

const READ_BYTES = 8 * 2 ** 20;

const NONE: ReadonlySet<SequenceId> = new Set();

/** The device that blocks are copied from and to, and how they lie. */
export interface SwapMemoryOptions {
  readonly device: Device;
  readonly storage: KvStorage;
  readonly layout: SwapLayout;
  /** Is told of a block that is not what it was. */
  readonly warn: (text: string) => void;
  /** Bytes copied to the host at a time, where a block is not larger. Default: 8 MiB. */
  readonly readBytes?: number;
}

/**
 * Host memory for blocks of preempted sequences, each with its CRC-32.
 *
 * Copies are made between two steps: out of what earlier steps have left, in before the next one
 * is submitted, so that neither meets a step that writes or reads. Memory is taken slab by slab as
 * it is needed, and kept.
 */
export class SwapMemory {
  readonly #options: SwapMemoryOptions;
  readonly #reader: RangeReader;
  readonly #slabs: (Uint8Array | undefined)[];
  /** Per group, by host block. */
  readonly #checksums: readonly Uint32Array[];
  #times: SwapTimes = { storedBytes: 0, storeMs: 0, loadedBytes: 0, loadMs: 0 };

  private constructor(options: SwapMemoryOptions, reader: RangeReader) {
    const { space: { numSlabs }, blocksPerSlab } = options.layout;
    this.#options = options;
    this.#reader = reader;
    this.#slabs = new Array(numSlabs);
    this.#checksums = blocksPerSlab.map((count) => new Uint32Array(numSlabs * count));
  }

  static async create(options: SwapMemoryOptions): Promise<SwapMemory> {
    const { device, layout: { space }, readBytes = READ_BYTES } = options;
    const reader = await device.createReader(Math.max(readBytes, ...space.blockBytes));
    return new SwapMemory(options, reader);
  }

  /** What copies have taken so far, checksums included. */
  get times(): SwapTimes {
    return this.#times;
  }

  /**
   * Copies a step's blocks, out and then in.
   *
   * @returns the sequences whose blocks host memory has lost: none of these is copied in.
   */
  async copy({ swapOuts, swapIns }: Batch): Promise<ReadonlySet<SequenceId>> {
    if (swapOuts !== undefined) {
      const began = performance.now();
      for (const blocks of this.#pieces(swapOuts)) await this.#store(blocks);
      const storedBytes = this.#times.storedBytes + this.#bytesOf(swapOuts);
      const storeMs = this.#times.storeMs + performance.now() - began;
      this.#times = { ...this.#times, storedBytes, storeMs };
    }
    if (swapIns === undefined) return NONE;
    const corrupt = new Set(
      swapIns.filter((load) => !this.#isSound(load)).map((load) => load.sequenceId),
    );
    await this.#load(swapIns.filter(({ sequenceId }) => !corrupt.has(sequenceId)));
    return corrupt;
  }

  /** The bytes of a block in host memory, as they are; for tests. */
  bytesAt({ group, hostBlock }: Pick<BlockSwap, "group" | "hostBlock">): Uint8Array {
    const { space, blocksPerSlab, slabBytes } = this.#options.layout;
    const perSlab = blocksPerSlab[group]!;
    const bytes = space.blockBytes[group]!;
    const slab = this.#slabs[Math.floor(hostBlock / perSlab)] ??= new Uint8Array(slabBytes);
    const start = hostBlock % perSlab * bytes;
    return slab.subarray(start, start + bytes);
  }

  async #store(blocks: readonly BlockSwap[]): Promise<void> {
    const read = this.#reader.read(blocks.flatMap((swap) => this.#rangesOf(swap)));
    const words = read instanceof Promise ? await read : read;
    let end = 0;
    for (const swap of blocks) {
      const bytes = this.bytesAt(swap);
      bytes.set(new Uint8Array(words.buffer, words.byteOffset + end, bytes.length));
      this.#checksums[swap.group]![swap.hostBlock] = crc32(bytes);
      end += bytes.length;
    }
  }

  #isSound(load: BlockLoad): boolean {
    const { group, hostBlock, sequenceId } = load;
    if (crc32(this.bytesAt(load)) === this.#checksums[group]![hostBlock]) return true;
    this.#options.warn(
      `host memory has not kept KV block ${hostBlock} of group ${group}: sequence ${sequenceId} is ` +
        `computed again`,
    );
    return false;
  }

  /** Copies blocks in, and waits for the last, so that their time is known. */
  async #load(blocks: readonly BlockLoad[]): Promise<void> {
    if (blocks.length === 0) return;
    const began = performance.now();
    const { device } = this.#options;
    let last: BufferRange | undefined;
    for (const swap of blocks) {
      const bytes = this.bytesAt(swap);
      let end = 0;
      for (const range of this.#rangesOf(swap)) {
        device.write(range.buffer, range.byteOffset, bytes.subarray(end, end + range.bytes));
        end += range.bytes;
        last = range;
      }
    }
    const read = this.#reader.read([{ ...last!, bytes: 4 }]);
    if (read instanceof Promise) await read;
    const loadedBytes = this.#times.loadedBytes + this.#bytesOf(blocks);
    const loadMs = this.#times.loadMs + performance.now() - began;
    this.#times = { ...this.#times, loadedBytes, loadMs };
  }

  /** The blocks in runs that fit one read. */
  *#pieces(blocks: readonly BlockSwap[]): Iterable<readonly BlockSwap[]> {
    let piece: BlockSwap[] = [];
    let numBytes = 0;
    for (const swap of blocks) {
      const bytes = this.#bytesOf([swap]);
      if (numBytes + bytes > this.#reader.bytes) {
        yield piece;
        [piece, numBytes] = [[], 0];
      }
      piece.push(swap);
      numBytes += bytes;
    }
    if (piece.length > 0) yield piece;
  }

  #rangesOf({ group, block }: Pick<BlockSwap, "group" | "block">): BufferRange[] {
    const { storage: { buffers }, layout } = this.#options;
    return layout.parts[group]!.map(({ buffer, strideBytes, bytes }) => ({
      buffer: buffers[buffer]!,
      byteOffset: block * strideBytes,
      bytes,
    }));
  }

  #bytesOf(blocks: readonly BlockSwap[]): number {
    const { blockBytes } = this.#options.layout.space;
    return blocks.reduce((sum, { group }) => sum + blockBytes[group]!, 0);
  }
}
