import { formatByteSize } from "../base/byte_size.ts";
import { withThousands as count } from "../base/thousands.ts";
import type { EngineInfo } from "../core/engine_config.ts";
import { kvFormat, layerDtype } from "../core/kv_layout.ts";
import { numLongestSequences, numPoolTokens } from "../core/pool_capacity.ts";
import { DRIVER_HINT } from "../runner/open_device.ts";

const MIB = 2 ** 20;

/** What the terminal shows once the server is ready: what runs where, how much fits, how to ask. */
export function banner(
  info: EngineInfo,
  { url, place, modelName, seconds, lacksDriver, needsKey }: {
    /** Where a client on this machine reaches the server. */
    url: string;
    /** The place it listens at, in words. */
    place: string;
    modelName: string;
    seconds: number;
    /** The reference device runs because there was no adapter, not because it was asked for. */
    lacksDriver: boolean;
    needsKey: boolean;
  },
): string {
  const { maxModelLen } = info;
  const numSequences = numLongestSequences(info).toFixed(1);
  const lines = [
    ["Device", info.device],
    ["Model", `${modelName} (${info.modelType}), ${describeWeights(info)}`],
    [
      "KV pool",
      `${describeBlocks(info)}, ` +
      `${(info.kvCacheBytes / MIB).toFixed(1)} MiB (${describeKv(info)})${describeGrowth(info)}`,
    ],
    ["Fits", `${numSequences} sequences of ${count(maxModelLen)} tokens at once`],
    [
      "Steps",
      `at most ${count(info.maxNumSeqs)} sequences, ${count(info.maxNumBatchedTokens)} tokens` +
      (info.isDeterministic === true ? ", deterministic" : ""),
    ],
    ["Started", describePhases(info, seconds)],
    ["Ready", place],
    ["API", `${url}/docs`],
  ];
  return [
    ...lines.map(([name, text]) => `${name!.padEnd(8)} ${text}`),
    ...(lacksDriver ? ["", `Note: ${DRIVER_HINT}.`] : []),
    "",
    "Try it:",
    "",
    curlLine(url, modelName, needsKey),
    "",
  ].join("\n");
}

/** A request to paste into a POSIX shell, after filling in a key where one is needed. */
export function curlLine(url: string, modelName: string, needsKey: boolean): string {
  const body = JSON.stringify({
    model: modelName,
    messages: [{ role: "user", content: "Tell me a story about a fox and a lantern." }],
    stream: true,
  });
  const key = needsKey ? "-H 'authorization: Bearer YOUR_API_KEY' " : "";
  return `  curl -N ${url}/v1/chat/completions ${key}-H 'content-type: application/json' -d '${body}'`;
}

function describeWeights(info: EngineInfo): string {
  const { numParameters, weightBytes, quantization, hasInt8Activations } = info;
  const size = `${(numParameters / 1e6).toFixed(1)} M parameters, ${
    (weightBytes / MIB).toFixed(1)
  } MiB`;
  if (quantization === undefined) return size;
  const activations = hasInt8Activations === true ? ", int8 activations" : "";
  const { method, groupSize, vocabulary } = quantization;
  const embedding = vocabulary === undefined ? "" : `, embedding in ${vocabulary}`;
  return `${size} (${method}, groups of ${groupSize}${embedding}${activations})`;
}

/** The size that the pool may grow to; empty where its size was given. */
function describeGrowth({ numBlocks, maxNumBlocks, kvCacheBytes }: EngineInfo): string {
  if (maxNumBlocks <= numBlocks) return "";
  const bytes = maxNumBlocks / numBlocks * kvCacheBytes;
  return `, grows under load up to ${formatByteSize(bytes)}`;
}

/** Blocks and their tokens; slabs, and what shares them, where there are several cache groups. */
function describeBlocks(info: EngineInfo): string {
  const { numBlocks, blockSize, groups = [] } = info;
  const tokens = `${count(numPoolTokens(info))} tokens`;
  if (groups.length < 2) return `${count(numBlocks)} blocks of ${blockSize} = ${tokens}`;
  const names = groups.map((cache) =>
    "window" in cache ? `${cache.kind} of ${count(cache.window)}` : cache.kind
  );
  return `${count(numBlocks)} slabs = ${tokens} in blocks of ${blockSize}, shared by ` +
    names.join(" and ");
}

function describeKv(info: EngineInfo): string {
  const edge = layerDtype(kvFormat(info), true);
  const edges = edge === info.kvCacheDtype ? "" : `, first and last layer ${edge}`;
  return `${info.kvCacheDtype}${edges}`;
}

function describePhases({ phases }: EngineInfo, total: number): string {
  const parts = phases.map(({ name, seconds }) => `${name} ${seconds.toFixed(1)}`);
  return `in ${total.toFixed(1)} s (${parts.join(", ")})`;
}
