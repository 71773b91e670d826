import { type LoadFigures, loadFigures } from "../../src/client/load_figures.ts";
import { type RequestResult, runLoad } from "../../src/client/load_runner.ts";
import { OpenAiClient } from "../../src/client/openai_client.ts";
import { randomWords, type WordCount } from "../../src/client/words.ts";
import { SeededRandom } from "../../src/base/seeded_random.ts";
import { cpuSeconds } from "../process_cpu.ts";
import type { Reservations } from "./reservations.ts";
import type { ServedRequest } from "./serving_load.ts";

/** Words by which the tokenizer is measured. */
const NUM_WORDS = 200;

/** A server of OpenAI's API in a process of its own. */
export interface ServerUnderTest {
  readonly url: string;
  readonly pid: number;
}

/** A load as it was served. */
export interface ServedLoad {
  readonly figures: LoadFigures;
  /** Of the server's process, all threads, seconds; NaN where that cannot be read. */
  readonly processorSeconds: number;
}

const FIELDS = { temperature: 0, ignore_eos: true };

function clientOf({ url }: ServerUnderTest): OpenAiClient {
  return new OpenAiClient({ baseUrl: `${url}/v1`, fetch });
}

/** How many tokens a word takes with the server's tokenizer. */
export async function countWords(server: ServerUnderTest): Promise<WordCount> {
  const text = randomWords(new SeededRandom(5), NUM_WORDS);
  const session = { beginMs: 0, turns: [{ text, maxTokens: 2 }] };
  const options = { client: clientOf(server), endpoint: "completions", fields: FIELDS } as const;
  const { results: [result] } = await runLoad([session], options);
  if (result?.error !== undefined) throw new Error(result.error);
  return { tokensPerWord: result!.promptTokens / NUM_WORDS, overhead: 0, isMeasured: true };
}

/**
 * Serves requests that all come at once; a request's clock runs from then on, also while it waits
 * for its reservation.
 *
 * @throws {Error} where a request fails, with the reason.
 */
export async function serveLoad(
  server: ServerUnderTest,
  requests: readonly ServedRequest[],
  reservations: Reservations,
): Promise<ServedLoad> {
  const options = { client: clientOf(server), endpoint: "completions", fields: FIELDS } as const;
  const beganSeconds = cpuSeconds(server.pid) ?? NaN;
  const began = performance.now();
  const results = await Promise.all(requests.map(async (request): Promise<RequestResult> => {
    const leave = await reservations.enter(request);
    const waited = performance.now() - began;
    const turns = [{ text: request.prompt, maxTokens: request.outputLen }];
    const { results: [result] } = await runLoad([{ beginMs: 0, turns }], options);
    leave();
    return { ...result!, ttft: result!.ttft + waited, latency: result!.latency + waited };
  }));
  const seconds = (performance.now() - began) / 1000;
  const load = { results, seconds, peakConcurrency: requests.length };
  const figures = loadFigures(load, { goals: new Map(), percentiles: [50, 99] });
  const [failure] = figures.failures;
  if (failure !== undefined) throw new Error(`${failure[1]} requests failed: ${failure[0]}`);
  return { figures, processorSeconds: (cpuSeconds(server.pid) ?? NaN) - beganSeconds };
}
