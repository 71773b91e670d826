import type { BenchConfig, GoodputFigure } from "../core/bench_config.ts";
import { StartupError } from "../core/errors.ts";
import { loadFigures } from "../client/load_figures.ts";
import { type LoadOptions, runLoad } from "../client/load_runner.ts";
import { parseMooncakeTrace } from "../client/mooncake_trace.ts";
import { GUESSED_COUNT, randomWords, type WordCount } from "../client/words.ts";
import { makeSessions, mooncakeSessions, type Session } from "../client/workload.ts";
import { SeededRandom } from "../base/seeded_random.ts";
import { benchJson, benchText } from "./bench_report.ts";
import { clientOf, modelOf } from "./server_client.ts";

/** Words of the two prompts by which a server's tokenizer is measured. */
const MEASURED_WORDS = [32, 160] as const;
/** Largest workload trace that is read, bytes. */
const MAX_WORKLOAD_TRACE_BYTES = 512 * 2 ** 20;

/** Where a bench says how far it is, and what ends it. */
export interface BenchWatch {
  readonly onProgress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * `quire bench`: puts a load on a server, and reports. Ends early with what there is where `signal`
 * aborts.
 *
 * @throws {StartupError} where the server does not answer, and for a workload trace that cannot be
 * read.
 */
export async function benchCommand(
  config: BenchConfig,
  { onProgress, signal }: BenchWatch = {},
): Promise<string> {
  const client = clientOf(config, config.trace === undefined ? {} : { read: [config.trace] });
  const model = await modelOf(client, config.model);
  const options: LoadOptions = {
    client,
    endpoint: config.endpoint,
    fields: fieldsOf(config, model),
    pieces: config.pieces,
    ...(config.maxConcurrency === undefined ? {} : { maxConcurrency: config.maxConcurrency }),
    ...(signal === undefined ? {} : { signal }),
  };
  const words = await measureWords(config, options);
  const sessions = sessionsOf(config, words);
  const numRequests = sessions.reduce((sum, { turns }) => sum + turns.length, 0);
  const { onProgress: _, ...quiet } = options;
  if (config.warmups > 0) await runLoad(warmups(config, words), quiet);
  const load = await runLoad(sessions, {
    ...options,
    onProgress: (done, running) => {
      onProgress?.(`${done} of ${numRequests} requests done, ${running} running`);
    },
  });
  const figures = loadFigures(load, {
    goals: goalsOf(config),
    percentiles: config.percentiles.map(Number),
  });
  const head = {
    server: client.baseUrl,
    model,
    load: describeLoad(config, sessions.length),
    isMeasured: words.isMeasured,
  };
  return config.json ? JSON.stringify(benchJson(figures, head)) : benchText(figures, head);
}

function fieldsOf({ temperature, ignoreEos }: BenchConfig, model: string) {
  return {
    model,
    ...(temperature === undefined ? {} : { temperature: Number(temperature) }),
    ...(ignoreEos ? { ignore_eos: true } : {}),
  };
}

function goalsOf({ goodput }: BenchConfig): Map<GoodputFigure, number> {
  return new Map(goodput.map((goal) => {
    const [figure, ms] = goal.split(":");
    return [figure as GoodputFigure, Number(ms)];
  }));
}

/**
 * Asks the server how many tokens two prompts have: the difference tells those of a word, the rest
 * those of the template. The first request also shows whether the server answers at all.
 *
 * @throws {StartupError} where it does not.
 */
async function measureWords({ seed }: BenchConfig, options: LoadOptions): Promise<WordCount> {
  const counts: number[] = [];
  for (const numWords of MEASURED_WORDS) {
    const text = randomWords(new SeededRandom(seed + 0x5eed), numWords);
    const { results } = await runLoad([{ beginMs: 0, turns: [{ text, maxTokens: 2 }] }], options);
    const result = results[0];
    if (result === undefined) return GUESSED_COUNT;
    const { error, promptTokens } = result;
    if (error !== undefined && promptTokens === 0) throw new StartupError(error);
    counts.push(promptTokens);
  }
  const [few = 0, many = 0] = counts;
  const tokensPerWord = (many - few) / (MEASURED_WORDS[1] - MEASURED_WORDS[0]);
  if (tokensPerWord <= 0) return GUESSED_COUNT;
  const overhead = Math.max(0, Math.round(few - tokensPerWord * MEASURED_WORDS[0]));
  return { tokensPerWord, overhead, isMeasured: true };
}

function sessionsOf(config: BenchConfig, words: WordCount): Session[] {
  const { trace, numPrompts, traceScale, traceSpeed, seed, rate, burstiness } = config;
  if (trace === undefined) {
    const pace = {
      rate: rate === undefined ? undefined : Number(rate),
      burstiness: Number(burstiness),
    };
    return makeSessions(config.workload, config, { pace, words });
  }
  const requests = parseMooncakeTrace(readMooncakeTrace(trace), trace, numPrompts);
  return mooncakeSessions(requests, { scale: traceScale, speed: Number(traceSpeed), seed, words });
}

function readMooncakeTrace(path: string): string {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_WORKLOAD_TRACE_BYTES) {
      throw new StartupError(
        `--trace ${path} has ${size} bytes, over the limit of ${MAX_WORKLOAD_TRACE_BYTES}`,
      );
    }
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(`--trace ${path} cannot be read: ${(error as Error).message}`);
  }
}

/** Prompts that have nothing in common with those that count. */
function warmups(config: BenchConfig, words: WordCount): Session[] {
  const sizes = { ...config, numPrompts: config.warmups, seed: config.seed + 0x3a3 };
  return makeSessions("random", sizes, { pace: { rate: undefined, burstiness: 1 }, words });
}

function describeLoad(config: BenchConfig, numSessions: number): string {
  const { workload, trace, inputLen, outputLen, prefixLen, numPrefixes, turns, rate } = config;
  if (trace !== undefined) {
    return `${numSessions} requests of ${trace}, lengths / ${config.traceScale}, ` +
      `times / ${config.traceSpeed}`;
  }
  const pace = rate === undefined ? "all at once" : `${rate} per second`;
  const lengths = `${inputLen} + ${outputLen} tokens`;
  if (workload === "turns") {
    return `${numSessions} conversations of ${turns} turns of ${lengths}, ${pace}`;
  }
  if (workload === "prefix") {
    return `${numSessions} requests of ${prefixLen} + ${lengths}, ${numPrefixes} beginnings, ${pace}`;
  }
  return `${numSessions} requests of ${lengths}, ${pace}`;
}
