import { z } from "zod";
import { EVICTION_POLICIES, KV_CACHE_DTYPES } from "../engine_config.ts";

const KV_CACHE = "KV cache";

/** The settings of KV memory: the size and the element type of the pool, and the prefix cache. */
export const KV_CACHE_SETTINGS = {
  blockSize: z.int().min(4).max(1024).multipleOf(4).default(16).meta({
    description: "Token positions per KV block",
    group: KV_CACHE,
    value: "TOKENS",
  }),
  numGpuBlocksOverride: z.int().min(1).max(2 ** 31 - 1).optional().meta({
    description: "Exact size of the KV pool in blocks; wins over --kv-cache-memory-bytes",
    group: KV_CACHE,
    value: "BLOCKS",
    defaultText: "derived from the memory",
  }),
  gpuMemoryBytes: z.int().min(1).optional().meta({
    description: "Memory that weights, activations and KV pool may take together; the pool has " +
      "what the others leave over",
    group: KV_CACHE,
    value: "SIZE",
    bytes: true,
    defaultText: "as much as is needed",
  }),
  kvCacheMemoryBytes: z.int().min(1).optional().meta({
    description: "Size of the KV pool in bytes, all layers together",
    group: KV_CACHE,
    value: "SIZE",
    bytes: true,
    defaultText: "a modest size, stated at start",
  }),
  maxKvCacheMemoryBytes: z.int().min(1).optional().meta({
    description: "Without a size: most bytes that the KV pool grows to under load",
    group: KV_CACHE,
    value: "SIZE",
    bytes: true,
    defaultText: "what the GPU grants; without one, half of the host's free memory",
  }),
  swapMemoryBytes: z.int().min(0).default(0).meta({
    description: "Host memory that keeps the KV blocks of preempted requests, which are computed " +
      "again where that is measured to be faster than copying; 0 for none",
    group: KV_CACHE,
    value: "SIZE",
    bytes: true,
  }),
  kvCacheDtype: z.enum(["auto", ...KV_CACHE_DTYPES]).default("auto").meta({
    description: "Element type of keys and values; auto is f16",
    group: KV_CACHE,
    value: "DTYPE",
  }),
  kvCacheF16EdgeLayers: z.boolean().optional().meta({
    description: "Keep the first and the last layer in f16 where keys and values are quantized",
    group: KV_CACHE,
    value: "",
    defaultText: "for int4",
  }),
  stateSnapshotInterval: z.int().min(4).max(2 ** 31 - 1).optional().meta({
    description:
      "Also keep the states of state-space layers every so many tokens of a prompt, beside " +
      "its end and where prompts part; a multiple of --block-size",
    group: KV_CACHE,
    value: "TOKENS",
    defaultText: "no more than those",
  }),
  enablePrefixCaching: z.boolean().default(true).meta({
    description: "Reuse the KV of earlier prompts that begin alike",
    group: KV_CACHE,
    value: "",
  }),
  evictionPolicy: z.enum(EVICTION_POLICIES).default("lru").meta({
    description:
      "Which cached blocks are dropped first; priority heeds a request's cache_retention, reuse " +
      "learns when blocks come back",
    group: KV_CACHE,
    value: "POLICY",
  }),
  promptHistoryBytes: z.int().min(0).default(32 * 2 ** 20).meta({
    description: "Memory for the latest prompts and answers, by which explain and /metrics tell " +
      "why a prompt missed the prefix cache; 0 for none",
    group: KV_CACHE,
    value: "SIZE",
    bytes: true,
  }),
  prefixStore: z.string().min(1).optional().meta({
    description: "File that remembers hot prefixes, and with them parts of prompts, so that a " +
      "restarted server can compute them again; none for no file",
    group: KV_CACHE,
    value: "PATH|none",
    defaultText: "prefixes.sqlite3 in the user's state directory, quire",
  }),
};
