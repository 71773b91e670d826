import type { Observation } from "../../core/found_prompt.ts";
import { describeMiss, type MissCause, type MissReport } from "../../core/miss_report.ts";
import type { TokenEvent } from "../../core/token_event.ts";
import type { EventWatch } from "./collector.ts";
import type { Job } from "./job.ts";
import type { Services } from "../services.ts";
import type { SubmittedRequest } from "./submit.ts";

/** A job that the engine has accepted, in the name of its key. */
export interface SubmittedJob extends Omit<SubmittedRequest, "generation"> {
  readonly job: Job;
  readonly id: string;
}

/**
 * Follows the events of a request: with the first of each prompt it is told why the prompt found no
 * more in the prefix cache, and at the end it hands over the answers, which later prompts repeat.
 */
export class PromptWatch implements EventWatch {
  readonly #services: Pick<Services, "engine" | "misses">;
  readonly #submitted: SubmittedJob;
  readonly #numSamples: number;
  readonly #observed: (Observation | undefined)[] = [];
  readonly #answers: number[][] = [];

  constructor(services: Pick<Services, "engine" | "misses">, submitted: SubmittedJob) {
    this.#services = services;
    this.#submitted = submitted;
    const { sequences, prompts } = submitted.job;
    this.#numSamples = sequences.length / prompts.length;
  }

  /** What each prompt found; undefined for one that has no event yet. */
  get reports(): readonly (MissReport | undefined)[] {
    return Array.from(this.#observed, (observed) => observed?.report);
  }

  /** Why prompts found less than they could have, those that did. */
  get causes(): readonly MissCause[] {
    return this.#observed.flatMap((observed) => observed?.report.cause ?? []);
  }

  observe({ index, token, numCachedTokens, evicted }: TokenEvent): void {
    if (numCachedTokens !== undefined && index % this.#numSamples === 0) {
      this.#begin(index / this.#numSamples, numCachedTokens, evicted);
    }
    if (token !== undefined) (this.#answers[index] ??= []).push(token);
  }

  end(): void {
    this.#answers.forEach((tokens, index) =>
      this.#observed[Math.floor(index / this.#numSamples)]?.answered(tokens)
    );
  }

  #begin(prompt: number, numCachedTokens: number, evicted: TokenEvent["evicted"]): void {
    const { engine, misses } = this.#services;
    const { job: { prompts, sequences, origin }, owner, scope } = this.#submitted;
    const { info, stats: { numEvictedBlocks, numResetBlocks }, numRestarts } = engine;
    if (info === undefined) return;
    this.#observed[prompt] = misses.observe({
      ...{ owner, scope, ids: prompts[prompt]!, origin, numCachedTokens, evicted },
      isRead: sequences[prompt * this.#numSamples]!.readout !== undefined,
      counters: { numEvictedBlocks, numResetBlocks, numRestarts },
      blockSize: info.blockSize,
    });
  }
}

/** A report as clients read it. */
export function missJson(report: MissReport): Record<string, unknown> {
  const { numPromptTokens, numCachedTokens, numExpectedTokens, cause, divergence, evicted } =
    report;
  return {
    prompt_tokens: numPromptTokens,
    cached_tokens: numCachedTokens,
    expected_tokens: numExpectedTokens,
    cause: cause ?? null,
    text: describeMiss(report),
    ...(divergence && { divergence: divergenceJson(divergence) }),
    ...(evicted && { evicted: { tokens: evicted.numTokens, ms_ago: Math.round(evicted.agoMs) } }),
  };
}

function divergenceJson({ position, part, ...texts }: NonNullable<MissReport["divergence"]>) {
  return { position, ...part, ...texts };
}
