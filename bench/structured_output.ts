/**
 * `deno run -A bench/structured_output.ts [--quick] [--write]`: what structured output costs a step.
 *
 * Eight sequences of the bundled model decode side by side, with a JSON schema and without one, in
 * alternating runs over the same memory: the median of each step, of its plan and commit, and of one
 * token's match. Then what a grammar costs once: its compilation, and its first sequence. The last
 * line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { CompiledGrammar } from "../src/core/compiled_grammar.ts";
import type { TokenMatchers } from "../src/core/token_matcher.ts";
import { GrammarMatchers } from "../src/grammar/grammar_matchers.ts";
import { grammarVocabulary } from "../src/grammar/grammar_vocabulary.ts";
import { GrammarCompiler } from "../src/grammar/grammar_compiler.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { startRunner } from "../src/runner/start_runner.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { loadTokenizer } from "../src/tokenizer/tokenizer.ts";
import { demoConfig, GREEDY } from "./demo.ts";
import { benchOptions, keepResult } from "./results.ts";
import { median } from "./median.ts";

const BATCH = 8;
const FULL = { rounds: 8, numTokens: 64 };
const QUICK = { rounds: 1, numTokens: 6 };

/** A schema of many objects, so that no answer ends within the bench. */
const SCHEMA = {
  type: "array",
  minItems: 60,
  items: {
    type: "object",
    properties: {
      name: { type: "string" },
      age: { type: "integer", minimum: 0, maximum: 120 },
      tags: { type: "array", items: { enum: ["red", "green", "blue"] }, minItems: 1 },
    },
    required: ["name", "age", "tags"],
  },
};

/** Medians of one way, ms. */
interface Times {
  readonly stepMs: number[];
  readonly hostMs: number[];
}

type Started = Awaited<ReturnType<typeof startRunner>>;

/** Decodes one batch to its end and adds the time of each step in which all sequences decode. */
async function decode(
  { runner, info }: Started,
  matchers: TokenMatchers,
  grammar: CompiledGrammar | undefined,
  numTokens: number,
  { stepMs, hostMs }: Times,
): Promise<void> {
  const blocks = new BlockManager(info);
  const scheduler = new Scheduler(blocks, { ...info, maxNumQueuedSeqs: 100, matchers });
  const params = { ...GREEDY, temperature: 1, maxTokens: numTokens };
  const sequences = Array.from({ length: BATCH }, (_, seed) => ({
    prompt: Uint32Array.from({ length: 64 }, (_, i) => 300 + (7 * i + seed) % 1000),
    params: { ...params, seed },
    ...(grammar === undefined ? {} : { grammar }),
  }));
  scheduler.add({ id: "bench", sequences });
  while (scheduler.hasWork) {
    const began = performance.now();
    const batch = scheduler.schedule()!;
    const planned = performance.now();
    const results = await runner.run(batch, () => {});
    const computed = performance.now();
    scheduler.commit(batch, results);
    const ended = performance.now();
    if (batch.numTokens !== BATCH) continue;
    stepMs.push(ended - began);
    hostMs.push(planned - began + ended - computed);
  }
}

/** The time of one token's match, ms each, along a text of the grammar that the seed chooses. */
function matchTimes(
  matchers: TokenMatchers,
  grammar: CompiledGrammar,
  numTokens: number,
): number[] {
  const matcher = matchers.create(grammar, 0);
  const times: number[] = [];
  for (let i = 0; i < numTokens; i++) {
    const words = matcher.allowedTokens;
    let token = (i * 131) % (32 * words.length);
    while ((words[token >>> 5]! >>> token % 32 & 1) === 0) {
      token = (token + 1) % (32 * words.length);
    }
    const began = performance.now();
    matcher.accept(token);
    times.push(performance.now() - began);
  }
  matcher.close();
  return times;
}

async function main(): Promise<void> {
  const options = benchOptions("demo");
  const { rounds, numTokens } = options.quick ? QUICK : FULL;
  const config = { ...demoConfig(options.device), maxNumSeqs: BATCH };
  const started = await startRunner(config, () => {});
  const compiler = new GrammarCompiler(grammarVocabulary(loadTokenizer(config.modelDir)));
  const limits = { deadlineMs: 60_000, maxBytes: 2 ** 29 };
  const began = performance.now();
  const format = { type: "json_schema", json_schema: SCHEMA } as const;
  const outcome = compiler.compile({ key: "bench", format, limits });
  if (outcome.type !== "compiled") throw new Error(outcome.message);
  const compileMs = performance.now() - began;
  const { grammar } = outcome;
  const matchers = new GrammarMatchers();
  const opened = performance.now();
  matchers.create(grammar).close();
  const firstMs = performance.now() - opened;
  const plain: Times = { stepMs: [], hostMs: [] };
  const structured: Times = { stepMs: [], hostMs: [] };
  for (let round = 0; round < rounds; round++) {
    const ways = [
      () => decode(started, matchers, undefined, numTokens, plain),
      () => decode(started, matchers, grammar, numTokens, structured),
    ];
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) await way();
  }
  const result = {
    bench: "structured_output",
    device: started.info.device,
    batch: BATCH,
    plainMs: median(plain.stepMs),
    structuredMs: median(structured.stepMs),
    ratio: median(structured.stepMs) / median(plain.stepMs),
    plainHostMs: median(plain.hostMs),
    structuredHostMs: median(structured.hostMs),
    matchMs: median(matchTimes(matchers, grammar, 10 * numTokens)),
    compileMs,
    firstMs,
  };
  started.runner.destroy?.();
  report(result);
  await keepResult(result, options);
}

function report(result: Readonly<Record<string, number | string>>): void {
  const ms = (name: string) => `${Number(result[name]).toFixed(3)} ms`;
  console.log(`Device  ${result.device}\n`);
  console.log(`step of ${BATCH} decodes   ${ms("plainMs")}, structured ${ms("structuredMs")}`);
  console.log(`  ratio             ${Number(result.ratio).toFixed(3)}`);
  console.log(`  plan and commit   ${ms("plainHostMs")}, structured ${ms("structuredHostMs")}`);
  console.log(`one token's match   ${ms("matchMs")}`);
  console.log(`compilation         ${ms("compileMs")}; first sequence ${ms("firstMs")}\n`);
}

if (import.meta.main) await main();
