import type { EvictionPolicyName, SchedulingPolicyName } from "../../src/core/engine_config.ts";
import { EngineServer, type EngineSizes } from "./engine_server.ts";
import type { MakeServer } from "./simulate.ts";
import { SlotServer } from "./slot_server.ts";

/** The same memory and step for every server that is compared. */
export interface ServerSizes {
  /** Positions of KV that memory has room for. */
  readonly poolTokens: number;
  /** Longest prompt and output together that the server takes. */
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
}

/** A server by the name it has in tables. */
export interface Variant {
  readonly name: string;
  readonly make: MakeServer;
}

/** Positions of a block, and of a chunk where chunks are compared. */
const BLOCK_SIZE = 16;
const CHUNK_SIZE = 256;

/** What the engine is made with beside its sizes. */
export interface EngineChoices {
  readonly evictionPolicy?: EvictionPolicyName;
  readonly schedulingPolicy?: SchedulingPolicyName;
  readonly blockSize?: number;
  /** Default: 1, what the server does unless told otherwise. */
  readonly scheduleConservativeness?: number;
  /** Whether preempted requests have as much host memory as there is KV memory. */
  readonly hasHostMemory?: boolean;
}

/** The server's own modules with blocks of 16 positions, unless told otherwise. */
export function engine(
  { poolTokens, ...sizes }: ServerSizes,
  {
    blockSize = BLOCK_SIZE,
    scheduleConservativeness = 1,
    hasHostMemory = false,
    ...choices
  }: EngineChoices = {},
): MakeServer {
  const numBlocks = Math.floor(poolTokens / blockSize);
  const swap = hasHostMemory ? { numSwapBlocks: numBlocks } : {};
  const whole = { ...sizes, ...choices, ...swap, blockSize, numBlocks, scheduleConservativeness };
  return (now) => new EngineServer(whole, now);
}

/**
 * Six ways to divide the same memory. Contiguous reservation is the engine with one block per
 * sequence, as long as the longest request, and chunks are larger blocks: so these differ from
 * paging in nothing else. Static batches and slots are other servers (`slot_server.ts`).
 */
export function allocators(sizes: ServerSizes): Variant[] {
  const { poolTokens, maxModelLen, maxNumSeqs, maxNumBatchedTokens } = sizes;
  const numSlots = Math.min(maxNumSeqs, Math.max(1, Math.floor(poolTokens / maxModelLen)));
  const slots = { numSlots, slotLen: maxModelLen, maxNumBatchedTokens };
  const reserved: EngineSizes = {
    ...sizes,
    numBlocks: numSlots,
    blockSize: maxModelLen,
    numWatermarkBlocks: 0,
  };
  return [
    {
      name: "static batches",
      make: () => new SlotServer({ ...slots, isStatic: true, keepsPrompts: false }),
    },
    { name: "contiguous", make: (now) => new EngineServer(reserved, now) },
    {
      name: "slots",
      make: () => new SlotServer({ ...slots, isStatic: false, keepsPrompts: true }),
    },
    { name: `chunks of ${CHUNK_SIZE}`, make: engine(sizes, { blockSize: CHUNK_SIZE }) },
    { name: "paged", make: engine(sizes) },
    { name: "paged + cache", make: engine(sizes, { evictionPolicy: "lru" }) },
  ];
}
