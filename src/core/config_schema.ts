import { z } from "zod";
import { LOG_LEVELS } from "../base/log.ts";
import { MAX_DECODE_STEPS } from "./batch.ts";
import { EVICTION_POLICIES, KV_CACHE_DTYPES, SCHEDULING_POLICIES } from "./engine_config.ts";
import { StartupError } from "./errors.ts";
import { POOLINGS } from "./prompt_readout.ts";
import { TOOL_FORMATS } from "./tool_format_names.ts";

const MODEL = "Model";
const SERVER = "Server";
const KV_CACHE = "KV cache";
const SCHEDULER = "Scheduler";
const RUNTIME = "Device and diagnostics";

/**
 * The one definition of every setting. Flags, `QUIRE_...` variables, bounds, defaults and `--help`
 * are derived from it (`flags.ts`, `help.ts`): a field added here is a flag everywhere.
 */
export const ConfigSchema = z.object({
  model: z.string().min(1).optional().meta({
    description:
      "Model to serve: a local directory, a GGUF file, or a name on Hugging Face's hub " +
      "such as Qwen/Qwen3-0.6B, looked for in the cache first",
    group: MODEL,
    value: "MODEL",
    aliases: ["-m", "-hf", "--hf-repo"],
    defaultText: "the bundled demo model",
  }),
  yes: z.boolean().default(false).meta({
    description: "Download a model that is not in the cache without asking",
    group: MODEL,
    value: "",
  }),
  servedModelName: z.array(z.string().min(1)).default([]).meta({
    description: 'Name(s) clients use in "model"; the first is the one reported',
    group: MODEL,
    value: "NAME",
    aliases: ["-a", "--alias"],
    defaultText: "the model's own name",
  }),
  maxModelLen: z.union([z.literal("auto"), z.int().min(2)]).optional().meta({
    description:
      "Most tokens of one sequence, prompt and output together; auto makes the KV pool " +
      "large enough for the longest that fits",
    group: MODEL,
    value: "TOKENS|auto",
    aliases: ["-c", "--ctx-size"],
    defaultText: "what the model and the KV pool allow",
  }),
  quantization: z.enum(["none", "int8", "int4"]).default("none").meta({
    description:
      "Quantizes weight matrices as they are loaded; none keeps the type they are stored in",
    group: MODEL,
    value: "METHOD",
  }),
  quantizationGroupSize: z.enum(["32", "128"]).default("32").meta({
    description: "Weights that share a scale: 128 takes less memory, 32 loses less",
    group: MODEL,
    value: "WEIGHTS",
  }),
  quantizationEmbedding: z.enum(["int8", "int4"]).default("int8").meta({
    description: "What the embedding and the output's matrix become where the other matrices " +
      "become int4: int8 takes more memory and loses less",
    group: MODEL,
    value: "METHOD",
  }),
  int8Activations: z.enum(["off", "auto", "on"]).default("off").meta({
    description: "Quantizes what is multiplied with quantized weights to int8 as well: more " +
      "arithmetic per second for prompts, a little quality; auto does on GPUs with packed dot " +
      "products and without matrix units",
    group: MODEL,
    value: "WHEN",
  }),
  host: z.string().min(1).default("127.0.0.1").meta({
    description: "Address to listen on; 0.0.0.0 for all interfaces, which needs --api-key",
    group: SERVER,
    value: "ADDRESS",
  }),
  port: z.int().min(0).max(65535).default(8000).meta({
    description: "TCP port to listen on; 0 takes a free one",
    group: SERVER,
    value: "PORT",
  }),
  apiKey: z.array(z.string().min(1)).default([]).meta({
    description: "Key(s) that requests must carry, /health excepted; one may be followed by " +
      "settings: 'KEY name=NAME max-requests=N tokens-per-minute=N priority=N'",
    group: SERVER,
    value: "KEY",
    secret: true,
    defaultText: "none, no key is asked for",
  }),
  apiKeyFile: z.string().min(1).optional().meta({
    description: "File with more API keys and their settings, one per line",
    group: SERVER,
    value: "PATH",
    defaultText: "none",
  }),
  adminKey: z.array(z.string().min(1)).default([]).meta({
    description: "Key(s) for /admin/*, /reset_prefix_cache and /kv/events; they open what an API " +
      "key opens, too",
    group: SERVER,
    value: "KEY",
    secret: true,
    defaultText: "none: these answer on a loopback address without API keys only",
  }),
  adminKeyFile: z.string().min(1).optional().meta({
    description: "File with more admin keys, one per line",
    group: SERVER,
    value: "PATH",
    defaultText: "none",
  }),
  allowPublic: z.boolean().default(false).meta({
    description: "Serve other machines without an API key: whoever reaches the address may use it",
    group: SERVER,
    value: "",
  }),
  allowedHosts: z.array(z.string().min(1)).default([]).meta({
    description: "Name(s) that the Host header may have beside local ones and addresses, such as " +
      "gpu.example or *.example; given, they are asked for on every address",
    group: SERVER,
    value: "NAME",
    defaultText: "localhost, *.localhost, *.internal, *.local, addresses; on loopback only",
  }),
  corsOrigins: z.array(z.string().min(1)).default([]).meta({
    description: "Origin(s) whose pages may call beside local ones, such as https://app.example, " +
      "tauri://localhost, app://. or chrome-extension://ID; * for all",
    group: SERVER,
    value: "ORIGIN",
    defaultText: "pages of this machine",
  }),
  allowAnyOrigin: z.boolean().default(false).meta({
    description: "Accept --cors-origins * beside API keys: any page that learns a key may use it",
    group: SERVER,
    value: "",
  }),
  metricsAccess: z.enum(["open", "key", "admin", "off"]).default("key").meta({
    description: "Who may read /metrics: everyone, holders of a key, admins, or nobody",
    group: SERVER,
    value: "WHO",
  }),
  maxConnections: z.int().min(8).max(65_536).default(1024).meta({
    description:
      "Most open connections; beyond them the longest idle one is closed, and new ones " +
      "are where none is idle",
    group: SERVER,
    value: "CONNECTIONS",
  }),
  toolCallParser: z.enum(["auto", ...TOOL_FORMATS]).default("auto").meta({
    description: "How the model writes calls of tools; auto goes by its chat template",
    group: SERVER,
    value: "FORMAT",
  }),
  pooling: z.enum(["auto", ...POOLINGS]).default("auto").meta({
    description: "How embeddings are made of hidden states; auto goes by the model's own " +
      "configuration, or takes the last one",
    group: SERVER,
    value: "WAY",
  }),
  rerankTokens: z.string().regex(/^[^,]+,[^,]+$/, "two words with a comma between").optional()
    .meta({
      description: "The words by which the model says that a document does not fit a query, and " +
        "that it does, such as no,yes for Qwen3-Reranker",
      group: SERVER,
      value: "NO,YES",
      defaultText: "the model's own, if it has any",
    }),
  grammarCompileTimeout: z.int().min(1).max(600).default(5).meta({
    description: "How long a schema or grammar of a request may take to compile, in seconds; one " +
      "that takes longer is answered with 400",
    group: SERVER,
    value: "SECONDS",
  }),
  sseKeepAliveSeconds: z.int().min(0).max(3600).default(30).meta({
    description:
      "Silence after which a stream that has begun sends a comment, so that proxies keep " +
      "it open, in seconds; 0 for never",
    group: SERVER,
    value: "SECONDS",
  }),
  shutdownTimeout: z.int().min(0).max(3600).default(30).meta({
    description: "How long running requests may finish after Ctrl-C, in seconds",
    group: SERVER,
    value: "SECONDS",
  }),
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
  stateCheckpointInterval: z.int().min(4).max(2 ** 31 - 1).optional().meta({
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
  maxNumSeqs: z.int().min(1).max(4096).default(64).meta({
    description: "Most sequences in one step",
    group: SCHEDULER,
    value: "SEQUENCES",
    aliases: ["-np", "--parallel"],
  }),
  maxNumBatchedTokens: z.int().min(1).max(131_072).default(512).meta({
    description: "Most tokens in one step; longer prompts are computed in chunks",
    group: SCHEDULER,
    value: "TOKENS",
    aliases: ["-b", "--batch-size"],
  }),
  schedulingPolicy: z.enum(SCHEDULING_POLICIES).default(SCHEDULING_POLICIES[0]).meta({
    description: "Who is served first: fcfs, the earliest, in turns between keys; priority, the " +
      "highest priority of key and request, also in place of what runs; lpm, the longest cached " +
      "prefix; fair, the key that has had the fewest tokens",
    group: SCHEDULER,
    value: "POLICY",
  }),
  longPrefillTokenThreshold: z.int().min(0).max(131_072).optional().meta({
    description: "Most tokens of one prompt in a step while others wait, so that short prompts " +
      "pass long ones; 0 for no limit",
    group: SCHEDULER,
    value: "TOKENS",
    defaultText: "half of --max-num-batched-tokens",
  }),
  maxPrefillMs: z.int().min(10).max(600_000).default(1000).meta({
    description:
      "Most time of a step that computes prompts, in milliseconds, by what earlier ones " +
      "took: on slow devices prompts are computed in smaller chunks, since drivers reset what runs " +
      "too long",
    group: SCHEDULER,
    value: "MS",
  }),
  maxLongPartialPrefills: z.int().min(1).max(4096).default(1).meta({
    description: "Most prompts longer than that which are computed at a time",
    group: SCHEDULER,
    value: "PROMPTS",
  }),
  scheduleConservativeness: z.int().min(0).max(400).default(100).meta({
    description: "Blocks that an admission leaves over for answers to grow, in percent of what " +
      "the answers before say: more means fewer preemptions and fewer sequences at a time; 0 " +
      "leaves none",
    group: SCHEDULER,
    value: "PERCENT",
  }),
  maxDecodeSteps: z.int().min(1).max(MAX_DECODE_STEPS).default(MAX_DECODE_STEPS).meta({
    description: "Most tokens of an answer that the device computes by itself, one after the " +
      "other, before they are read back: where nobody waits, and as far as it pays and takes no " +
      "longer than 50 ms",
    group: SCHEDULER,
    value: "STEPS",
  }),
  requestTimeout: z.int().min(1).max(86_400).optional().meta({
    description: "How long a request may wait and run before it ends with an error, in seconds; " +
      'its "timeout" may be shorter',
    group: SCHEDULER,
    value: "SECONDS",
    defaultText: "no limit",
  }),
  maxQueuedRequests: z.int().min(1).max(65_536).default(1024).meta({
    description: "Most sequences that one API key has waiting, and most of one request; more are " +
      "answered with 429 and 400. All keys together: this times their number",
    group: SCHEDULER,
    value: "SEQUENCES",
  }),
  device: z.enum(["auto", "webgpu", "cpu"]).default("auto").meta({
    description: "Where the model runs; auto takes a GPU where there is one",
    group: RUNTIME,
    value: "DEVICE",
  }),
  gpuBackend: z.enum(["deno", "dawn"]).default("deno").meta({
    description: "Whose WebGPU; dawn is Chrome's, from the npm package webgpu in ./node_modules",
    group: RUNTIME,
    value: "BACKEND",
  }),
  autotune: z.enum(["auto", "on", "off"]).default("auto").meta({
    description: "Whether a start times variants of kernels that were not timed on this machine, " +
      "for at most 20 seconds; auto does on GPUs",
    group: RUNTIME,
    value: "WHEN",
  }),
  tuningStore: z.string().min(1).optional().meta({
    description: "File that keeps the times of kernels; none for no file",
    group: RUNTIME,
    value: "PATH|none",
    defaultText: "tuning.sqlite3 in the user's state directory, quire",
  }),
  deterministic: z.boolean().default(false).meta({
    description: "The same bits of every logit alone and in any batch; slower prompts on GPUs",
    group: RUNTIME,
    value: "",
  }),
  engineStepTimeout: z.int().min(1).max(86_400).optional().meta({
    description: "How long a step of the engine may take before it counts as hung, in seconds",
    group: RUNTIME,
    value: "SECONDS",
    defaultText: "120, or what the device's own speed asks for",
  }),
  engineStartTimeout: z.int().min(1).max(86_400).default(600).meta({
    description: "How long a phase of the engine's start may take before it counts as hung, " +
      "in seconds",
    group: RUNTIME,
    value: "SECONDS",
  }),
  maxEngineFailures: z.int().min(0).max(1000).default(5).meta({
    description:
      "Failures of the engine in a row, with no answer completed in between, and no minute of " +
      "steps, after which the process exits with code 70; 0 tries for ever",
    group: RUNTIME,
    value: "FAILURES",
  }),
  seed: z.int().min(0).optional().meta({
    description: "Seeds the requests that bring no seed of their own",
    group: RUNTIME,
    value: "N",
    aliases: ["-s"],
    defaultText: "random",
  }),
  logLevel: z.enum(LOG_LEVELS).default("info").meta({
    description: "Least urgent lines that are written; debug adds /health and /metrics requests",
    group: RUNTIME,
    value: "LEVEL",
  }),
  traceSteps: z.string().min(1).optional().meta({
    description: "File that every request, plan and token is appended to as JSON lines, prompts " +
      "included, so that bench/replay_steps.ts can run the steps again; it grows fast",
    group: RUNTIME,
    value: "PATH",
    defaultText: "none",
  }),
  logFormat: z.enum(["text", "json"]).default("text").meta({
    description: "Lines for people, or one JSON object per line",
    group: RUNTIME,
    value: "FORMAT",
  }),
});

/** Every setting, checked and deeply frozen. */
export type Settings =
  & Readonly<Omit<z.output<typeof ConfigSchema>, ListSetting>>
  & { readonly [name in ListSetting]: readonly string[] };

type ListSetting = "servedModelName" | "apiKey" | "adminKey" | "allowedHosts" | "corsOrigins";

/**
 * Refuses int8 activations beside plain weights: only codes are multiplied with codes.
 *
 * @throws {StartupError}
 */
export function checkInt8Activations(
  { quantization, int8Activations }: Pick<Settings, "quantization" | "int8Activations">,
): void {
  if (quantization !== "none" || int8Activations !== "on") return;
  throw new StartupError(
    "--int8-activations on needs quantized weights: give --quantization int8 or int4 with it",
  );
}
