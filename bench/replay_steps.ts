/**
 * Runs the steps of a step trace (`--trace-steps`) again: through the scheduler alone, whose plans
 * have to be those of the trace, and with `--device` through the model as well, whose tokens have
 * to be.
 *
 * Usage: `deno run -A bench/replay_steps.ts FILE [--device auto|webgpu|cpu] [--model DIR]`. The
 * last line is JSON; the exit code is 1 at the first difference.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { assertEquals } from "@std/assert";
import type { Batch, BlockMove, ChunkResult } from "../src/core/batch.ts";
import type { DeviceChoice, EngineConfig } from "../src/core/engine_config.ts";
import { RequestError } from "../src/core/errors.ts";
import type { TokenMatcher, TokenMatchers } from "../src/core/token_matcher.ts";
import {
  parseStepTraceRecord,
  type StepTraceCommand,
  type StepTraceRecord,
} from "../src/engine/step_trace.ts";
import { pinPrefix } from "../src/engine/pin_command.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { startRunner } from "../src/runner/start_runner.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";

/** Keys of cached blocks decide nothing but names. */
const KEY_SPACE = { secret: new Uint8Array(32), modelFingerprint: "replay", layout: "replay" };

/** What runs the batches of a replay: a model on its device. */
export interface ReplayRunner {
  run(batch: Batch): readonly ChunkResult[] | Promise<readonly ChunkResult[]>;
  resizeKv(numBlocks: number, moves: readonly BlockMove[]): Promise<void>;
}

/** What has been run again, and found the same. */
export interface Replayed {
  readonly numEngines: number;
  readonly numSteps: number;
  /** Draws compared with those of a device; 0 where none ran. */
  readonly numDraws: number;
  /** Lines that an engine's end has cut off, which are left out. */
  readonly numCutLines: number;
}

/** How a replay gets a runner; absent: the scheduler runs alone. */
type MakeRunner = (start: StepTraceRecord & { type: "start" }) => Promise<ReplayRunner>;

/** What grammars allowed at each draw, as the plans of a step trace have it. */
class RecordedMasks implements TokenMatchers {
  readonly #masks = new Map<string, Uint32Array>();

  /** Takes in a plan. */
  add({ chunks }: Batch): void {
    for (const { sequenceId, draw } of chunks) {
      const mask = draw?.adjustment?.allowedTokens;
      if (mask !== undefined) this.#masks.set(`${sequenceId}/${draw!.outputIndex}`, mask);
    }
  }

  create(_: unknown, sequenceId: number): TokenMatcher {
    let numTokens = 0;
    // A draw that was never planned asks for nothing.
    const mask = () => this.#masks.get(`${sequenceId}/${numTokens}`) ?? new Uint32Array();
    return {
      get allowedTokens() {
        return mask();
      },
      accept() {
        numTokens++;
        return undefined;
      },
      close() {},
    };
  }
}

/** One engine of a step trace, run again. */
class Replay {
  readonly #blocks: BlockManager;
  readonly #scheduler: Scheduler;
  readonly #runner: ReplayRunner | undefined;
  #ms: number;
  #planned: Batch | undefined;
  numSteps = 0;
  numDraws = 0;

  constructor(
    { sizes, ms }: StepTraceRecord & { type: "start" },
    masks: TokenMatchers,
    runner: ReplayRunner | undefined,
  ) {
    const { evictionPolicy: policy } = sizes;
    this.#ms = ms;
    this.#runner = runner;
    this.#blocks = new BlockManager({
      ...sizes,
      maxInFlightTokens: sizes.maxNumBatchedTokens,
      ...(policy === undefined
        ? {}
        : { prefixCache: { policy, keySpace: KEY_SPACE, now: () => this.#ms } }),
    });
    this.#scheduler = new Scheduler(this.#blocks, { ...sizes, matchers: masks });
    // What had been refused is not in the step trace.
    this.#scheduler.pool.limitSize(Infinity);
  }

  async apply(record: StepTraceRecord): Promise<void> {
    this.#ms = record.ms;
    switch (record.type) {
      case "add":
        return this.#scheduler.add(record.request, record.ms);
      case "abort":
        return this.#scheduler.abort(record.requestId, record.index);
      case "command":
        return this.#command(record.command);
      case "resize": {
        const { numBlocks, grownFor } = record;
        const isGrowing = numBlocks > this.#blocks.numBlocks;
        if (isGrowing) await this.#runner?.resizeKv(numBlocks, []);
        const { moves } = this.#scheduler.pool.resize(numBlocks, grownFor);
        if (!isGrowing) await this.#runner?.resizeKv(numBlocks, moves);
        return;
      }
      case "costs":
        return this.#scheduler.setSwapCosts(record.costs);
      case "plan":
        this.#planned = this.#scheduler.schedule(record.ms, record.bounds);
        assertEquals(this.#planned, record.batch, "the plan is another");
        return;
      case "results":
        return await this.#commit(record);
    }
  }

  async #commit({ step, results }: StepTraceRecord & { type: "results" }): Promise<void> {
    const planned = this.#planned!;
    if (this.#runner !== undefined) {
      const drawn = await this.#runner.run(planned);
      assertEquals(drawn.map(drawOf), results.map(drawOf), `step ${step} draws something else`);
      this.numDraws += drawn.reduce((sum, { outputs }) => sum + outputs.length, 0);
    }
    this.#scheduler.commit(planned, results);
    this.numSteps++;
  }

  /** A command that was refused is refused again. */
  #command(command: StepTraceCommand): void {
    try {
      if (command.type === "reset_prefix_cache") this.#scheduler.resetPrefixCache(command.preempt);
      else if (command.type === "pin_prefix") {
        pinPrefix(this.#blocks.pins, command, this.#scheduler.shortContextLen);
      } else this.#blocks.pins?.remove(command.name);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
    }
  }
}

/** What has to be the same on every device; log-probabilities may differ in their last bits. */
function drawOf({ sequenceId, outputs }: ChunkResult) {
  return {
    sequenceId,
    drawn: outputs.map((output) => output.type === "token" ? output.token : output.type),
  };
}

/**
 * Runs a step trace again, engine by engine.
 *
 * @param lines of the step trace, without their ends; the last of each engine may have been cut
 * off.
 * @throws {AssertionError} at the first plan, or the first draws, that are not the trace's.
 */
export async function replaySteps(
  lines: Iterable<string>,
  makeRunner?: MakeRunner,
): Promise<Replayed> {
  const replays: Replay[] = [];
  const all = [...lines];
  const whole = all.filter((line, i) => !isCut(line, all[i + 1]));
  for (const [i, line] of whole.entries()) {
    const record = parseStepTraceRecord(line);
    if (record.type === "start") {
      const masks = masksOf(whole.slice(i + 1));
      replays.push(new Replay(record, masks, await makeRunner?.(record)));
    } else await replays.at(-1)!.apply(record);
  }
  return {
    numEngines: replays.length,
    numSteps: replays.reduce((sum, { numSteps }) => sum + numSteps, 0),
    numDraws: replays.reduce((sum, { numDraws }) => sum + numDraws, 0),
    numCutLines: all.length - whole.length,
  };
}

/** Whether a line is the last of an engine, whose end has cut it off. */
function isCut(line: string, next: string | undefined): boolean {
  if (next !== undefined && !isStart(next)) return false;
  try {
    JSON.parse(line);
    return false;
  } catch {
    return true;
  }
}

function isStart(line: string): boolean {
  return /^\{"ms":[^,]*,"type":"start"/.test(line);
}

/** The masks of the engine whose step trace goes on with these lines. */
function masksOf(lines: readonly string[]): RecordedMasks {
  const masks = new RecordedMasks();
  for (const line of lines) {
    if (isStart(line)) break;
    // Few plans have masks, and only those are parsed twice.
    if (!line.includes('"allowedTokens"')) continue;
    const record = parseStepTraceRecord(line);
    if (record.type === "plan" && record.batch !== undefined) masks.add(record.batch);
  }
  return masks;
}

/** The lines of a step trace, without their ends. */
export function stepTraceLines(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** The model of a step trace, or another, with a pool as large as the trace's was. */
async function openRunner(
  { config, sizes }: StepTraceRecord & { type: "start" },
  asked: Partial<EngineConfig>,
): Promise<ReplayRunner> {
  if (config === undefined) throw new Error("the step trace names no model");
  const { kvCacheMemoryBytes: _, maxKvCacheMemoryBytes: __, ...rest } = config;
  const { numBlocks: numBlocksOverride, maxModelLen } = sizes;
  const started = await startRunner(
    { ...rest, maxModelLen, numBlocksOverride, ...asked },
    () => {},
  );
  return started.runner;
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { device: { type: "string" }, model: { type: "string" } },
  });
  const { device, model } = values;
  const asked = {
    ...(device === undefined ? {} : { device: device as DeviceChoice }),
    ...(model === undefined ? {} : { modelDir: model }),
  };
  const isAlone = device === undefined && model === undefined;
  const lines = stepTraceLines(Deno.readTextFileSync(positionals[0]!));
  const began = performance.now();
  const replayed = await replaySteps(
    lines,
    isAlone ? undefined : (start) => openRunner(start, asked),
  );
  const { numEngines, numSteps, numDraws, numCutLines } = replayed;
  const seconds = (performance.now() - began) / 1000;
  console.log(`${numEngines} engines, ${numSteps} steps planned alike, ${numDraws} draws alike`);
  if (numCutLines > 0) console.log(`${numCutLines} lines left out, cut off as an engine ended`);
  console.log(JSON.stringify({ ...replayed, seconds }));
}
