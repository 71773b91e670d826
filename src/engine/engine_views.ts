import type { Clock } from "../base/clock.ts";
import type { EngineCommand, ReplyOf } from "../core/engine_command.ts";
import type { BlockMap, EngineView, TreeView } from "../core/engine_view.ts";
import { RequestError } from "../core/errors.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { OPEN_SCOPE } from "../kvcache/tables/sequence_path.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import { StepLog, type TimeTotals } from "./step_log.ts";

/** What of a block manager is shown. */
export type ViewedCache = Pick<
  BlockManager,
  "blockSize" | "cacheGroups" | "mapBlocks" | "viewTree" | "tokensAlong"
>;

/** A command of one type. */
type Command<Type extends EngineCommand["type"]> = Extract<EngineCommand, { readonly type: Type }>;

/**
 * Shows the inside of the engine, when it is asked. Nothing is computed or kept for views until
 * somebody asks for one, nor some seconds after the last.
 */
export class EngineViews {
  readonly #scheduler: Scheduler;
  readonly #blocks: ViewedCache | undefined;
  readonly #clock: Pick<Clock, "now">;
  #log: StepLog | undefined;

  constructor(scheduler: Scheduler, blocks: ViewedCache | undefined, clock: Pick<Clock, "now">) {
    this.#scheduler = scheduler;
    this.#blocks = blocks;
    this.#clock = clock;
  }

  /** The log of the step that begins now; undefined while nobody watches. */
  beginStep(): StepLog | undefined {
    if (this.#log?.isOver) this.#log = undefined;
    this.#log?.begin();
    return this.#log;
  }

  /** Between two steps; `totals` are the times so far. O(pool + tables). */
  view({ maxNumRuns, maxNumSequences }: Command<"view">, totals: TimeTotals): EngineView {
    if (this.#blocks === undefined) throw new RequestError("This engine shows no view");
    const beganMs = this.#clock.now();
    this.#log ??= new StepLog(this.#clock, totals);
    const { blockSize, cacheGroups: groups } = this.#blocks;
    const blocks: BlockMap = this.#blocks.mapBlocks();
    const tree: TreeView | undefined = maxNumRuns === 0
      ? undefined
      : this.#blocks.viewTree(maxNumRuns);
    return {
      step: this.#scheduler.numSteps,
      blockSize,
      groups: groups.map(({ kind }) => kind),
      blocks,
      ...(tree === undefined ? {} : { tree }),
      ...this.#scheduler.viewSequences(maxNumSequences),
      ...this.#log.drain(),
      tookMs: this.#clock.now() - beganMs,
    };
  }

  /** O(tokens of the path). */
  readPath(
    { node, hash, cacheScope: scope = OPEN_SCOPE }: Command<"read_path">,
  ): ReplyOf<Command<"read_path">> {
    return { tokens: this.#blocks?.tokensAlong({ node, hash, scope }) };
  }
}
