import { formatByteSize } from "../base/byte_size.ts";
import { withThousands as count } from "../base/thousands.ts";
import type { HeldMemory } from "./held_memory.ts";
import type { CacheKind } from "../core/cache_group.ts";
import type { DtypePlan, KvPlan, PlannedGroup } from "./kv_plan.ts";
import { windowOf } from "./model_shape.ts";
import type { TrafficPlan } from "./traffic_plan.ts";

/** Most columns of lengths in a table; the plan's JSON has all lengths. */
const MAX_COLUMNS = 6;

/**
 * A plan for people: the model and the memory, a table of KV dtypes, one of how many sequences run
 * at once, and one of allocators per traffic.
 */
export function planText(plan: KvPlan): string {
  return [
    heading(plan),
    dtypeTable(plan),
    lengthTable(plan),
    ...plan.traffic.map((traffic) => trafficTable(traffic, plan)),
  ].join("\n\n");
}

function heading(plan: KvPlan): string {
  const { weights, model, numLayers, groups, maxModelLen } = plan;
  const facts = [
    ["Model", `${model}, ${numLayers} layers, at most ${count(maxModelLen)} tokens per sequence`],
    ...weights.length === 0
      ? []
      : [["Weights", describeWeights(weights)], ["Matrices", describeMatrices(weights)]],
    ...groups.map((group, i) => ["Layers", describeGroup(group, plan, i)]),
    ["Memory", describeMemory(plan)],
  ];
  if (plan.shareUnread > 0) {
    facts.push([
      "Windows",
      `leave ${percent(plan.shareUnread)} of ${count(maxModelLen)} tokens unread, not kept`,
    ]);
  }
  return facts.map(([name, text]) => `${name!.padEnd(8)} ${text}`).join("\n");
}

/** The pool, and what the memory of a device goes to beside it, where that was asked for. */
function describeMemory({ division, memoryBytes, blockSize }: KvPlan): string {
  const pool = `${formatByteSize(memoryBytes)} for KV, in blocks of ${blockSize} tokens`;
  if (division === undefined) return pool;
  const { totalBytes, weights, activationBytes } = division;
  return `${formatByteSize(totalBytes)}: weights ${sizeIn(weights.format, weights.bytes)}, ` +
    `activations ${formatByteSize(activationBytes)}, and ${pool}`;
}

function describeWeights(weights: KvPlan["weights"]): string {
  return weights.map(({ format, bytes }) => sizeIn(format, bytes)).join(", ");
}

function describeMatrices(weights: KvPlan["weights"]): string {
  const sizes = weights.map(({ format, largestMatrixBytes }) => sizeIn(format, largestMatrixBytes));
  return `up to ${sizes.join(", ")}; cut where a device binds less`;
}

function sizeIn(format: KvPlan["weights"][number]["format"], bytes: number): string {
  return `${formatByteSize(bytes)} ${format === "file" ? "as the file has them" : `in ${format}`}`;
}

const LAYERS: Readonly<Record<CacheKind, string>> = {
  full: "full attention",
  sliding_window: "sliding window",
  chunked_local: "chunked-local",
  state: "state",
  encoder: "encoder",
};

function describeGroup(group: PlannedGroup, { dtype, dtypes }: KvPlan, index: number): string {
  const { kind, numLayers } = group;
  if (kind === "state") {
    return `${numLayers} ${LAYERS[kind]}: ${
      formatByteSize(group.stateBytes)
    } per sequence and layer`;
  }
  const { numKvHeads, headDim } = group;
  const window = windowOf(group);
  const bytes = dtypes.find((row) => row.dtype === dtype)!.groups[index]!;
  const reach = window === undefined ? "" : ` of ${count(window)}`;
  return `${numLayers} ${LAYERS[kind]}${reach}, KV heads ${numKvHeads} x ${headDim}: ` +
    `${formatByteSize(bytes.bytesPerTokenAndLayer)} per token and layer, ` +
    `${formatByteSize(bytes.bytesPerToken)} per token (${dtype})`;
}

function dtypeTable({ dtypes }: KvPlan): string {
  const rows = dtypes.map((row) => [
    dtypeName(row),
    formatByteSize(row.bytesPerToken),
    count(row.numBlocks),
    count(row.numTokens),
    count(row.longestLen),
    formatByteSize(row.layerBufferBytes),
  ]);
  const names = ["KV dtype", "per token", "blocks", "tokens", "longest", "layer buffer"];
  const note = dtypes.some((row) => row.hasF16EdgeLayers) ? "\n* first and last layer in f16" : "";
  return table([names, ...rows]) + note;
}

function dtypeName({ dtype, hasF16EdgeLayers }: DtypePlan): string {
  return hasF16EdgeLayers ? `${dtype}*` : dtype;
}

function lengthTable({ dtypes }: KvPlan): string {
  const lengths = dtypes[0]!.lengths.map(({ len }) => len);
  const shown = [...lengths.slice(0, MAX_COLUMNS - 1), ...lengths.slice(MAX_COLUMNS - 1).slice(-1)];
  const rows = dtypes.map((row) => [
    dtypeName(row),
    ...shown.map((len) => count(row.lengths.find((cell) => cell.len === len)!.numSequences)),
  ]);
  return "Sequences at once, all of so many tokens:\n" +
    table([["KV dtype", ...shown.map(count)], ...rows]);
}

function trafficTable(traffic: TrafficPlan, { dtype, maxModelLen }: KvPlan): string {
  const { name, numRequests, numTooLong, meanPromptLen, meanOutputLen, allocators } = traffic;
  if (numRequests === 0) return `${name}: no request fits into ${count(maxModelLen)} tokens`;
  const tooLong = numTooLong === 0 ? "" : `; longer, left out: ${count(numTooLong)}`;
  const head =
    `${name} (requests ${count(numRequests)}, mean prompt ${meanPromptLen.toFixed(0)}, ` +
    `mean output ${meanOutputLen.toFixed(0)}, ${dtype}${tooLong}):`;
  const rows = allocators.map((row) => [
    allocatorName(row),
    percent(row.usefulShare),
    row.meanHeldLen.toFixed(0),
    count(row.numSequences),
  ]);
  return `${head}\n${table([["allocator", "useful", "tokens held", "sequences"], ...rows])}`;
}

/** An allocator in the words of a table. */
export function allocatorName({ allocator, blockSize }: HeldMemory): string {
  switch (allocator) {
    case "contiguous":
      return "contiguous, longest length";
    case "power_of_two":
      return "contiguous, power of two";
    case "exact":
      return "contiguous, length known";
    case "paged":
      return `paged, blocks of ${blockSize}`;
  }
}

/** Rows of texts as columns, the first to the left and the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const align = (text: string, i: number) =>
    i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!);
  return rows.map((row) => row.map(align).join("  ")).join("\n");
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
