import type { Context } from "hono";
import { RequestError } from "../../core/errors.ts";
import type { Generation } from "../../core/generation.ts";
import type { PromptReadout, PromptReport } from "../../core/prompt_readout.ts";
import type { SamplingParams } from "../../core/sampling_params.ts";
import type { GenerationMeter } from "../metrics/generation_meter.ts";
import type { Services } from "../services.ts";
import { newId } from "../answer/new_id.ts";
import { numTokensOf } from "./prompt_field.ts";
import { engineFailure, givenUp } from "../refusals.ts";
import { submitFor } from "../answer/submit.ts";

/** Prompts that are read, and nothing generated behind them. */
export interface PromptsToRead {
  /** Begins the request's id, such as `embd-`. */
  readonly idPrefix: string;
  readonly prompts: readonly Uint32Array[];
  readonly readout: PromptReadout;
  readonly cacheSalt?: string | null | undefined;
  readonly meter: GenerationMeter;
}

/** What was read of each prompt, in order, under the id that the engine knows. */
export interface PromptsRead {
  readonly id: string;
  readonly reports: readonly PromptReport[];
}

const NOTHING: SamplingParams = {
  ...{ maxTokens: 0, temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 },
  stopTokenIds: [],
};

/**
 * Refuses more prompts than a request may queue, before any is tokenized.
 *
 * @throws {RequestError} with the field, the limit and the number.
 */
export function checkNumPrompts(
  length: number,
  param: string,
  { maxNumQueuedSeqs: limit }: Services["limits"],
): void {
  if (length <= limit) return;
  throw new RequestError(
    `${param} has ${length} elements, but at most ${limit} are allowed: a request queues no more than ` +
      `--max-queued-requests`,
    { code: "too_many_sequences", param, details: { n_sequences: length, limit } },
  );
}

/**
 * Has the engine read prompts in its batches; undefined when the client has gone meanwhile.
 *
 * @throws {RequestError} when the engine refuses them, one of them fails, or an operator aborts
 * them.
 */
export async function readPrompts(
  c: Context,
  services: Services,
  { idPrefix, prompts, readout, cacheSalt, meter }: PromptsToRead,
): Promise<PromptsRead | undefined> {
  const id = newId(idPrefix);
  const request = {
    id,
    sequences: prompts.map((prompt) => ({ prompt, params: NOTHING, readout })),
  };
  const numPromptTokens = numTokensOf(prompts);
  const { generation } = await submitFor(c, services, request, {
    salt: cacheSalt,
    numPromptTokens,
  });
  meter.accepted(request, { operation: "embeddings", model: services.model.names[0]! });
  const reports = await reportsOf(c, generation, { prompts, meter })
    .finally(() => meter.end({ numPromptTokens, numCachedTokens: 0 }));
  services.log.info("prompts read", {
    id,
    request_id: c.get("requestId"),
    status: reports === undefined ? 499 : 200,
    sequences: prompts.length,
    prompt_tokens: numPromptTokens,
    ms: Math.round(meter.elapsedMs()),
  });
  return reports && { id, reports };
}

/** The reports of all sequences; undefined when the client has gone before they were there. */
async function reportsOf(
  c: Context,
  generation: Generation,
  { prompts, meter }: Pick<PromptsToRead, "prompts" | "meter">,
): Promise<readonly PromptReport[] | undefined> {
  const { signal } = c.req.raw;
  const leave = () => generation.abort();
  if (signal.aborted) leave();
  signal.addEventListener("abort", leave, { once: true });
  const reports: (PromptReport | undefined)[] = prompts.map(() => undefined);
  let isAborted = false;
  try {
    for await (const events of generation.events) {
      for (const { index, prompt, finishReason, error } of events) {
        if (finishReason === undefined) continue;
        const numPromptTokens = prompts[index]!.length;
        meter.observeEnd({ index, numTokens: 0, numPromptTokens }, finishReason);
        if (finishReason === "error") {
          throw engineFailure(error);
        }
        reports[index] = prompt;
        isAborted ||= finishReason === "abort";
      }
    }
  } finally {
    signal.removeEventListener("abort", leave);
  }
  if (isAborted && signal.aborted) return undefined;
  if (isAborted) throw givenUp();
  return reports.map((report) => {
    if (report === undefined) throw new Error("The engine ended with prompts unread");
    return report;
  });
}
