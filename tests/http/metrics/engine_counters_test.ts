import { assert, assertEquals } from "@std/assert";
import { Registry } from "prom-client";
import {
  ENGINE_COUNTERS,
  ENGINE_GAUGES,
  type StatDeclaration,
  zeroStats,
} from "../../../src/core/engine_stats.ts";
import { watchEngineCounters } from "../../../src/http/metrics/engine_counters.ts";
import { watchEngineGauges } from "../../../src/http/metrics/engine_gauges.ts";
import { FakeEngine } from "../fake_engine.ts";

Deno.test("watchEngineCounters() reports look-ups, misses and evictions by reason, at each scrape", async () => {
  const engine = new FakeEngine();
  const registry = new Registry();
  watchEngineCounters(registry, engine);
  engine.numRestarts = 3;
  engine.stats = {
    ...engine.stats,
    numQueriedTokens: 700,
    numHitTokens: 320,
    numEvictedTokens: 64,
    numUnsharableTokens: 16,
    numRequeriedTokens: 50,
    numRehitTokens: 48,
    numEvictedBlocks: 9,
    numResetBlocks: 4,
    swappedOutBytes: 4096,
    swappedInBytes: 1024,
    numSwapsRefused: 3,
    numSwapsEvicted: 2,
    numSwapsCorrupt: 1,
  };
  const lines = [
    "quire:engine_restarts_total 3",
    "vllm:prefix_cache_queries_total 700",
    "vllm:prefix_cache_hits_total 320",
    'quire:prefix_cache_missed_tokens_total{reason="no_match"} 300',
    'quire:prefix_cache_missed_tokens_total{reason="evicted"} 64',
    'quire:prefix_cache_missed_tokens_total{reason="last_block"} 16',
    "quire:preempted_prefix_cache_queries_total 50",
    "quire:preempted_prefix_cache_hits_total 48",
    'quire:prefix_cache_evicted_blocks_total{reason="allocation"} 9',
    'quire:prefix_cache_evicted_blocks_total{reason="reset"} 4',
    'vllm:kv_offload_total_bytes_total{transfer_type="GPU_to_CPU"} 4096',
    'vllm:kv_offload_total_bytes_total{transfer_type="CPU_to_GPU"} 1024',
    'quire:swap_fallbacks_total{reason="full"} 3',
    'quire:swap_fallbacks_total{reason="evicted"} 2',
    'quire:swap_fallbacks_total{reason="corrupt"} 1',
  ];
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = (await registry.metrics()).split("\n");
    for (const line of lines) assert(text.includes(line), line);
  }
  engine.stats = { ...engine.stats, numResetBlocks: 5 };
  const later = await registry.metrics();
  assertEquals(later.match(/reason="reset"\} (\d+)/)?.[1], "5");
});

Deno.test("every declared counter and gauge that has a metric is shown under it, in the metric's unit", async () => {
  const engine = new FakeEngine();
  const registry = new Registry();
  watchEngineCounters(registry, engine);
  watchEngineGauges(registry, engine);
  const all = Object.entries<StatDeclaration>({ ...ENGINE_COUNTERS, ...ENGINE_GAUGES });
  // Each is more than all that follow it, so that none of what is made of several is negative.
  const valueOf = (i: number) => 1000 * 2 ** (all.length - i);
  const values = all.map(([name], i) => [name, valueOf(i)]);
  engine.stats = { ...zeroStats(), ...Object.fromEntries(values) };
  const lines = (await registry.metrics()).split("\n");
  const shown = all.flatMap(([, { metric, help, perUnit = 1 }], i) =>
    metric === undefined ? [] : [
      `# HELP ${metric} ${help}`,
      `${metric} ${valueOf(i) / perUnit}`,
    ]
  );
  assertEquals(shown.filter((line) => !lines.includes(line)), []);
  assert(shown.length > 30, `${shown.length} lines`);
});
