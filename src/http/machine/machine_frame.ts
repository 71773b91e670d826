import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Numbered } from "../../base/numbered_log.ts";
import type { EngineStats } from "../../core/engine_stats.ts";
import type { BlockMap, EngineView, TreeView } from "../../core/engine_view.ts";
import type { EnginePort } from "../../core/engine_port.ts";
import type { LoggedDecision } from "../../core/kv_decision.ts";
import { decisionJson } from "../traces/decision_json.ts";
import { outageJson } from "../outage_json.ts";
import { emptyMap, encodeChanges } from "./block_changes.ts";
import type { Moment } from "./machine_history.ts";

/** The parts of a frame. */
export interface FrameParts {
  /** Frames are numbered from 0. */
  readonly frame: number;
  readonly timeMs: number;
  readonly view: EngineView;
  /** The map of the frame before; absent where that had none. */
  readonly before: BlockMap | undefined;
  /** The latest view of the tree. */
  readonly tree: TreeView | undefined;
  readonly stats: EngineStats;
  /** Engines started in place of one that was lost, and what is not as it was configured. */
  readonly engine: Pick<EnginePort, "numRestarts" | "notice">;
  readonly moment: Moment | undefined;
  readonly decisions: readonly Numbered<LoggedDecision>[];
}

/** A state of the engine as JSON, for readers who have the frame before and those who do not. */
export interface Frame {
  readonly frame: number;
  /** Everything. */
  whole(): string;
  /** What has changed since the frame before. */
  change(): string;
}

/** A frame, written once for all who read it and in the form that they need. */
export function makeFrame(parts: FrameParts): Frame {
  let whole: string | undefined;
  let change: string | undefined;
  const { view, before, tree } = parts;
  const isSameSize = before?.states.length === view.blocks.states.length;
  const self: Frame = {
    frame: parts.frame,
    whole: () => whole ??= JSON.stringify(frameMessage(parts, undefined, tree)),
    change: () =>
      isSameSize ? change ??= JSON.stringify(frameMessage(parts, before, view.tree)) : self.whole(),
  };
  return self;
}

/** An engine that cannot be looked into. */
export interface AwayParts {
  readonly frame: number;
  readonly timeMs: number;
  readonly engine: Pick<EnginePort, "state" | "outage" | "stall" | "numInFlight">;
  /** Why, one sentence. */
  readonly reason: string;
}

/** The frame of an engine that cannot be looked into: why, and since when. */
export function makeAwayFrame(parts: AwayParts): Frame {
  const text = JSON.stringify(awayMessage(parts));
  return { frame: parts.frame, whole: () => text, change: () => text };
}

/** What {@link makeAwayFrame} writes. */
export function awayMessage({ frame, timeMs, engine, reason }: AwayParts) {
  const outage = outageJson(engine);
  return {
    type: "away" as const,
    ...{ frame, time_ms: timeMs, state: engine.state, reason },
    ...(outage === undefined ? {} : { outage }),
    ...(engine.stall === undefined ? {} : { stalled_seconds: engine.stall.seconds }),
  };
}

/** A name for a cache scope that fits on a screen; the open scope has none. */
export function scopeName(scope: string | undefined): string {
  if (scope === undefined || scope === "") return "";
  return createHash("sha256").update(scope).digest("hex").slice(0, 8);
}

/**
 * What {@link makeFrame} writes.
 *
 * @param before the map that the frame tells the changes of; absent: everything.
 */
export function frameMessage(
  { frame, timeMs, view, stats, engine, moment, decisions }: FrameParts,
  before: BlockMap | undefined,
  tree: TreeView | undefined,
) {
  const numBlocks = view.blocks.states.length;
  const changes = encodeChanges(before ?? emptyMap(numBlocks), view.blocks);
  return {
    type: "frame" as const,
    frame,
    is_whole: before === undefined,
    time_ms: timeMs,
    step: view.step,
    block_size: view.blockSize,
    groups: view.groups,
    blocks: { count: numBlocks, changes: Buffer.from(changes).toString("base64") },
    stats,
    restarts: engine.numRestarts,
    ...(engine.notice === undefined ? {} : { notice: engine.notice }),
    sequences: view.sequences.map((each) => ({
      id: each.id,
      request_id: each.requestId,
      index: each.index,
      state: each.state,
      prompt_tokens: each.numPromptTokens,
      tokens: each.numTokens,
      computed_tokens: each.numComputedTokens,
      cached_tokens: each.numCachedTokens,
      preemptions: each.numPreemptions,
    })),
    hidden_sequences: view.numHidden,
    steps: view.steps.map(stepRow),
    chunks: view.chunks.map(({ sequenceId, step, timeMs, start, count }) =>
      [sequenceId, step, timeMs, start, count] as const
    ),
    ...(tree === undefined ? {} : { tree: treeJson(tree) }),
    ...(moment === undefined ? {} : { moment }),
    decisions: decisions.map(({ seq, item }) => ({ seq, ...decisionJson(item) })),
  };
}

function stepRow(step: EngineView["steps"][number]) {
  const [scheduleMs, hostMs, deviceMs] = [step.scheduleMs, step.hostMs, step.deviceMs].map(round);
  const { numChunks, numTokens } = step;
  return [step.step, step.endMs, scheduleMs!, hostMs!, deviceMs!, numChunks, numTokens] as const;
}

function treeJson({ runs, scopes, numRuns, numBlocks }: TreeView) {
  return {
    scopes: scopes.map(scopeName),
    num_runs: numRuns,
    num_blocks: numBlocks,
    runs: runs.map((run) => ({
      node: run.node,
      hash: run.hash,
      parent: run.parent,
      scope: run.scope,
      blocks: run.numBlocks,
      below: run.numBelow,
      hits: run.numHits,
      idle_s: run.idleSeconds,
      holders: run.numHolders,
      pinned: run.isPinned,
    })),
  };
}

function round(ms: number): number {
  return Math.round(1000 * ms) / 1000;
}
