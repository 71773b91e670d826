import type { Model } from "../../models/model.ts";
import { readModel } from "../../models/registry.ts";
import type { Batch, ChunkResult, TokenOutput } from "../../src/core/batch.ts";
import type { BeamSearchParams } from "../../src/core/beam_search_params.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { EngineStats } from "../../src/core/engine_stats.ts";
import type { TokenId } from "../../src/core/ids.ts";
import type { PromptReadout, PromptReport } from "../../src/core/prompt_readout.ts";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import type { Device } from "../../src/device/device.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import type { PoolResized } from "../../src/core/engine_command.ts";
import { ElasticPool } from "../../src/engine/elastic_pool.ts";
import { buildRunner, type RunnerOptions } from "../../src/runner/build_runner.ts";
import type { RunnerInputs } from "../../src/runner/runner_inputs.ts";
import { kvMemory, poolGroups } from "../../src/runner/kv_memory.ts";
import { checkpointOf } from "../../src/runner/load_model.ts";
import { shortContext } from "../../src/runner/position_table.ts";
import { kvBudget } from "../../src/runner/memory_budget.ts";
import type { ModelRunner } from "../../src/runner/model_runner.ts";
import { bindableSteps } from "../../src/runner/runner_memory.ts";
import { swapLayout } from "../../src/runner/swap_layout.ts";
import { uploadWeights } from "../../src/runner/upload_weights.ts";
import type { CompiledGrammar } from "../../src/core/compiled_grammar.ts";
import type { TokenMatchers } from "../../src/core/token_matcher.ts";
import { Scheduler } from "../../src/scheduler/scheduler.ts";
import { findModelSource } from "../../src/weights/model_source.ts";

/** The bundled model's directory. */
export const DEMO_DIR: string = new URL("../../models/demo", import.meta.url).pathname;

/** One prompt of `tests/golden/demo_golden.json`. */
export interface GoldenPrompt {
  readonly id: string;
  readonly prompt: string;
  readonly prompt_ids: readonly TokenId[];
  /** 64 greedy tokens, end tokens ignored. */
  readonly greedy_ids: readonly TokenId[];
  /** Best minus second-best log-probability at each position. */
  readonly margins: readonly number[];
  /** The five likeliest of the first eight positions. */
  readonly top5: readonly (readonly { id: TokenId; logprob: number }[])[];
}

/** The reference outputs of the bundled model, computed in f32 by `models/demo/verify.py`. */
export function goldenPrompts(): readonly GoldenPrompt[] {
  const file = new URL("../golden/demo_golden.json", import.meta.url);
  return JSON.parse(Deno.readTextFileSync(file)).prompts;
}

/** Greedy, end tokens ignored. */
export const GREEDY_64: SamplingParams = {
  maxTokens: 64,
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 0,
  stopTokenIds: [],
};

/** A sequence to run, and the step at which it arrives. */
export interface Arrival {
  readonly prompt: readonly TokenId[];
  readonly params?: SamplingParams;
  readonly grammar?: CompiledGrammar;
  readonly readout?: PromptReadout;
  /** Step before which it is submitted; 0 unless given. */
  readonly atStep?: number;
  /** Aborted after this many tokens. */
  readonly abortAfter?: number;
  /** Searched for instead of drawn; the first answer is returned. */
  readonly beamSearch?: BeamSearchParams;
}

/** What came of one sequence. */
export interface Outcome {
  readonly tokens: TokenId[];
  readonly sampled: Pick<TokenOutput, "logprob" | "topLogprobs">[];
  finish?: TokenEvent["finishReason"];
  error?: TokenEvent["error"];
  prompt?: PromptReport;
}

/** What layers keep in place of what the model's do, and what runners are made with. */
export interface DemoOptions extends RunnerOptions {
  readonly caches?: Model["caches"];
}

/** A runner of the bundled model, or that of `overrides.modelDir`, and what it was made with. */
export async function demoRunner(
  device: Device,
  overrides: Partial<EngineConfig>,
  { caches, ...options }: DemoOptions = {},
): Promise<RunnerInputs & { runner: ModelRunner }> {
  const inputs = await demoInputs(device, overrides, caches);
  return { ...inputs, runner: await buildRunner(inputs, options) };
}

/** What a runner of the bundled model, or that of `overrides.modelDir`, is built from. */
export async function demoInputs(
  device: Device,
  overrides: Partial<EngineConfig>,
  caches?: Model["caches"],
): Promise<RunnerInputs> {
  const config: EngineConfig = {
    modelDir: DEMO_DIR,
    device: "auto",
    blockSize: 16,
    kvCacheDtype: "f16",
    enablePrefixCaching: false,
    maxNumSeqs: 32,
    maxNumBatchedTokens: 256,
    maxNumQueuedSeqs: 1000,
    numBlocksOverride: 512,
    ...overrides,
  };
  const source = findModelSource(config.modelDir);
  const read = readModel(source.configFiles());
  const model = caches === undefined ? read : { ...read, caches };
  const checkpoint = checkpointOf(model, source.openCheckpoint());
  const { quantization } = config;
  const upload = quantization === undefined ? {} : { quantization };
  const weights = await uploadWeights(device, checkpoint, model.weights, upload);
  checkpoint.close();
  const budget = kvBudget(config, model, {
    modelMaxLen: model.maxPositionEmbeddings,
    maxBindingBytes: device.maxBindingBytes,
  });
  const bindable = bindableSteps({ device, config, model, budget }).config;
  return { device, config: bindable, model, weights, budget };
}

const KEY_SPACE = { secret: new Uint8Array(32), modelFingerprint: "demo", layout: "demo" };

/** The bundled model on a device, with a scheduler before it; no isolate, no HTTP. */
export class DemoEngine {
  #runner: ModelRunner;
  #scheduler: Scheduler;

  private constructor(runner: ModelRunner, scheduler: Scheduler) {
    this.#runner = runner;
    this.#scheduler = scheduler;
  }

  static async create(
    device: Device,
    overrides: Partial<EngineConfig> = {},
    options: DemoOptions & { readonly matchers?: TokenMatchers } = {},
  ): Promise<DemoEngine> {
    const { runner, config, model, budget } = await demoRunner(device, overrides, options);
    const { blockSize, enablePrefixCaching, maxNumBatchedTokens } = config;
    const layout = swapLayout(model, config);
    const matchers = options.matchers && { matchers: options.matchers };
    const blocks = new BlockManager({
      numBlocks: budget.numBlocks,
      blockSize,
      ...poolGroups(kvMemory(model, config)),
      maxInFlightTokens: maxNumBatchedTokens,
      ...(layout === undefined ? {} : { swapSpace: layout.space }),
      ...(enablePrefixCaching ? { prefixCache: { keySpace: KEY_SPACE } } : {}),
    });
    const limits = { ...config, ...budget, ...shortContext(model, budget), ...matchers };
    const scheduler = new Scheduler(blocks, limits);
    // Where there is host memory, copying always pays.
    if (layout) scheduler.setSwapCosts({ tokenMs: 1e9, storeMsPerMiB: 1, loadMsPerMiB: 1 });
    return new DemoEngine(runner, scheduler);
  }

  get stats(): EngineStats {
    return this.#scheduler.stats;
  }

  /** Resizes the pool and its memory, as the engine does it. */
  resizeKv(numBlocks: number): Promise<PoolResized> {
    return new ElasticPool(this.#scheduler.pool, this.#runner, 0).resize(numBlocks);
  }

  /**
   * Runs all arrivals to their ends, checks that nothing leaked, and returns them in order.
   * `beforeStep` is called with each step's number before it is planned, `afterRun` with its plan
   * when it has run.
   */
  async generate(
    arrivals: readonly Arrival[],
    beforeStep: (step: number) => Promise<void> = () => Promise.resolve(),
    afterRun: (batch: Batch) => Promise<void> = () => Promise.resolve(),
  ): Promise<Outcome[]> {
    const outcomes = arrivals.map((): Outcome => ({ tokens: [], sampled: [] }));
    const waiting = new Set(arrivals.keys());
    for (let step = 0; waiting.size > 0 || this.#scheduler.hasWork; step++) {
      for (const i of waiting) {
        if ((arrivals[i]!.atStep ?? 0) > step) continue;
        waiting.delete(i);
        const prompt = Uint32Array.from(arrivals[i]!.prompt);
        const params = arrivals[i]!.params ?? GREEDY_64;
        const { beamSearch, grammar, readout } = arrivals[i]!;
        const sequences = Array.from(
          { length: beamSearch?.width ?? 1 },
          () => ({ prompt, params, ...(grammar && { grammar }), ...(readout && { readout }) }),
        );
        const search = beamSearch === undefined ? {} : { beamSearch };
        this.#scheduler.add({ id: String(i), sequences, ...search });
      }
      await beforeStep(step);
      const batch = this.#scheduler.schedule();
      const events = batch === undefined
        ? this.#scheduler.takeEvents()
        : this.#scheduler.commit(batch, await this.#run(batch, afterRun));
      for (const event of events) this.#take(event, arrivals, outcomes);
    }
    this.#scheduler.checkIntegrity();
    return outcomes;
  }

  async #run(batch: Batch, afterRun: (batch: Batch) => Promise<void>): Promise<ChunkResult[]> {
    const sampled = await this.#runner.run(batch);
    await afterRun(batch);
    return sampled;
  }

  #take(event: TokenEvent, arrivals: readonly Arrival[], outcomes: Outcome[]): void {
    if (event.index > 0) return;
    const outcome = outcomes[Number(event.requestId)]!;
    if (event.token !== undefined) {
      outcome.tokens.push(event.token);
      const { logprob, topLogprobs } = event;
      outcome.sampled.push({
        ...(logprob === undefined ? {} : { logprob }),
        ...(topLogprobs === undefined ? {} : { topLogprobs }),
      });
    }
    if (event.prompt !== undefined) outcome.prompt = event.prompt;
    if (event.finishReason !== undefined) outcome.finish = event.finishReason;
    if (event.error !== undefined) outcome.error = event.error;
    const { abortAfter } = arrivals[Number(event.requestId)]!;
    if (abortAfter === outcome.tokens.length) this.#scheduler.abort(event.requestId);
  }
}
