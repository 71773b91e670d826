import { Gauge, type Registry } from "prom-client";
import type { CurvePoint } from "../../core/engine_command.ts";
import { ENGINE_GAUGES, type GaugeName, type StatDeclaration } from "../../core/engine_stats.ts";
import { ENGINE_STATES, type EnginePort } from "../../core/engine_port.ts";

/** A gauge, and its value by value of its label; without a label the one under the empty name. */
interface EngineGauge {
  readonly help: string;
  readonly label?: string;
  readonly read: (engine: EnginePort) => Values | Promise<Values>;
}

/** How long a scrape waits for the engine, which answers between two steps, ms. */
const MAX_WAIT_MS = 2000;

type Values = Readonly<Record<string, number>>;

/** Those of the declared gauges that have a metric, by its name. */
const DECLARED: Readonly<Record<string, EngineGauge>> = Object.fromEntries(
  Object.entries<StatDeclaration>(ENGINE_GAUGES).flatMap(([name, { metric, help }]) =>
    metric === undefined
      ? []
      : [[metric, { help, read: ({ stats }: EnginePort) => ({ "": stats[name as GaugeName] }) }]]
  ),
);

const GAUGES: Readonly<Record<string, EngineGauge>> = {
  ...DECLARED,
  "quire:engine_state": {
    help: "1 for the state that the engine is in, else 0",
    label: "state",
    read: (engine) =>
      Object.fromEntries(ENGINE_STATES.map((state) => [state, Number(state === engine.state)])),
  },
  "quire:engine_stalled_seconds": {
    help: "How long the engine has not got on with its work, if unusually long, else 0",
    read: ({ stall }) => ({ "": stall?.seconds ?? 0 }),
  },
  "vllm:num_requests_waiting_by_reason": {
    help:
      "Those of num_requests_waiting: for room, or deferred until others have computed what they share",
    label: "reason",
    read: ({ stats: { numWaiting, numDeferred: deferred } }) => ({
      capacity: numWaiting - deferred,
      deferred,
    }),
  },
  "vllm:kv_cache_usage_perc": {
    help: "Share of KV blocks in use, 1 being all",
    read: ({ stats: { numBlocks, numFreeBlocks, numCachedBlocks } }) => ({
      "": numBlocks === 0 ? 0 : 1 - (numFreeBlocks + numCachedBlocks) / numBlocks,
    }),
  },
  "quire:kv_blocks": {
    help: "KV blocks by what holds them: sequences, the prefix cache alone, or nothing",
    label: "state",
    read: ({ stats: { numBlocks, numFreeBlocks, numCachedBlocks } }) => ({
      in_use: numBlocks - numFreeBlocks - numCachedBlocks,
      cached: numCachedBlocks,
      free: numFreeBlocks,
    }),
  },
  "quire:prefix_hit_rate_estimate": {
    help: "Estimated share of blocks found with KV memory of a multiple of the pool",
    label: "memory",
    read: hitRates,
  },
};

/** Shows what the engine's latest statistics say, read at each scrape. */
export function watchEngineGauges(registry: Registry, engine: EnginePort): void {
  for (const [name, { help, label, read }] of Object.entries(GAUGES)) {
    new Gauge({
      name,
      help,
      registers: [registry],
      labelNames: label === undefined ? [] : [label],
      async collect() {
        this.reset();
        for (const [value, count] of Object.entries(await read(engine))) {
          this.set(label === undefined ? {} : { [label]: value }, count);
        }
      },
    });
  }
  watchPool(registry, engine);
}

/** Empty while the engine is away or does not answer: a scrape must not fail or hang with it. */
async function hitRates(engine: EnginePort): Promise<Values> {
  const late = Promise.withResolvers<readonly CurvePoint[]>();
  const timer = setTimeout(() => late.resolve([]), MAX_WAIT_MS);
  const answer = engine.command({ type: "hit_rate_curve" }).catch(() => []);
  const points = await Promise.race([answer, late.promise]);
  clearTimeout(timer);
  return Object.fromEntries(points.map(({ multiple, hitRate }) => [
    Number.isFinite(multiple) ? `${multiple}x` : "infinite",
    hitRate,
  ]));
}

/** The pool's geometry as labels of a constant, as Prometheus wants what is no number. */
function watchPool(registry: Registry, engine: EnginePort): void {
  new Gauge({
    name: "vllm:cache_config_info",
    help: "Geometry of the KV pool, as labels",
    labelNames: ["block_size", "num_gpu_blocks", "cache_dtype"],
    registers: [registry],
    collect() {
      const { info } = engine;
      this.reset();
      if (info === undefined) return;
      const { blockSize, numBlocks, kvCacheDtype } = info;
      this.set(
        { block_size: blockSize, num_gpu_blocks: numBlocks, cache_dtype: kvCacheDtype },
        1,
      );
    },
  });
}
