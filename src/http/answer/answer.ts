import type { Context } from "hono";
import { RequestError } from "../../core/errors.ts";
import type { TokenId } from "../../core/ids.ts";
import { beamSearchOf } from "../fields/beam_fields.ts";
import { Collector } from "./collector.ts";
import { answerInOnePiece } from "./answer_whole.ts";
import { answerAsStream } from "./answer_stream.ts";
import { decisionJson } from "../traces/decision_json.ts";
import { sequenceTraceJson, withoutOthers } from "../traces/sequence_trace.ts";
import { logRequestTrace, requestTraceFields } from "../traces/trace_log.ts";
import type { Job, RunningJob } from "./job.ts";
import { newId } from "./new_id.ts";
import { numTokensOf } from "../prompt/prompt_field.ts";
import { SequenceText } from "./sequence_text.ts";
import { timingsOf } from "./timings.ts";
import { missJson, PromptWatch, type SubmittedJob } from "./prompt_watch.ts";
import { accountOf } from "../access/access.ts";
import { submitFor } from "./submit.ts";
import type { Services } from "../services.ts";
import { type SamplingFields, stopsOf } from "../fields/sampling_fields.ts";

/**
 * Submits a job and answers with its text. Returns once the engine has accepted it, so that every
 * refusal has a status of its own, also of a stream.
 *
 * @throws {RequestError} for a field that a search does not support, a refusal of the engine, or a
 * failure before an answer in one piece is complete.
 */
export async function answer(c: Context, services: Services, job: Job): Promise<Response> {
  checkGenerates(services.model);
  const id = newId(job.choiceWriter.idPrefix);
  const beamSearch = beamSearchOf(job.request);
  const request = {
    id,
    sequences: job.sequences,
    ...(beamSearch === undefined ? {} : { beamSearch }),
    ...retentionOf(job.request),
    ...requestPriorityOf(job.request),
  };
  const { generation, ...holder } = await submitFor(c, services, request, {
    salt: job.request.cache_salt,
    timeoutSeconds: job.request.timeout ?? undefined,
    numPromptTokens: numTokensOf(job.prompts),
  });
  const operation = job.origin === undefined ? "text_completion" : "chat";
  job.meter.accepted(request, { operation, model: job.model });
  const running = toRunningJob(c, services, { job, id, ...holder });
  return job.request.stream === true
    ? answerAsStream(c, services, running, generation)
    : await answerInOnePiece(c, running, generation);
}

/** @throws {RequestError} for a model that only embeds or ranks. */
function checkGenerates({ lacksLmHead = false, names }: Services["model"]): void {
  if (!lacksLmHead) return;
  throw new RequestError(
    `The model ${
      names[0]
    } has no output projection and generates nothing: it is for /v1/embeddings ` +
      `and /v1/rerank`,
    { code: "unsupported_model", param: "model" },
  );
}

function toRunningJob(c: Context, services: Services, submitted: SubmittedJob): RunningJob {
  const { job, id } = submitted;
  const { sequences, prompts, meter, request } = job;
  const namedStopTokenIds = namedStops(services, request);
  const texts = sequences.map((_, index) =>
    new SequenceText({
      index,
      detokenizer: services.text.createDetokenizer({
        skipSpecialTokens: request.skip_special_tokens ??
          job.choiceWriter.readsSpecialTokens !== true,
        continuesText: job.choiceWriter.continuesPrompt,
      }),
      stopStrings: services.createStopStrings(stopsOf(request)),
      includeStop: request.include_stop_str_in_output ?? false,
      scoresStopToken: job.choiceWriter.scoresStopToken ?? false,
      namedStopTokenIds,
    })
  );
  const shape = {
    promptLens: prompts.map(({ length }) => length),
    numSamples: sequences.length / prompts.length,
  };
  const watch = new PromptWatch(services, submitted);
  const collector = new Collector(shape, texts, meter, watch);
  return {
    job,
    envelope: {
      id,
      created: Math.floor(Date.now() / 1000),
      model: job.model,
      system_fingerprint: `quire-${services.version}`,
    },
    collector,
    explanation: () => ({
      ...(request.explain === true ? explain(services, id, watch) : {}),
      ...(asksForTimings(request) ? { timings: timingsOf(meter, collector.usage()) } : {}),
    }),
    logEnd: (status) => {
      const { prompt_tokens, completion_tokens, prompt_tokens_details } = collector.usage();
      const traces = services.metrics.requestTraces.ofRequest(id);
      services.log.info("generation", {
        ...{ id, request_id: c.get("requestId"), ...keyNameOf(c) },
        status,
        sequences: sequences.length,
        ...{ prompt_tokens, completion_tokens },
        cached_tokens: prompt_tokens_details.cached_tokens,
        ...(watch.causes.length === 0 ? {} : { cache_miss: watch.causes.join(",") }),
        finish: texts.map(({ finish }) => finish?.reason ?? "none").join(","),
        ms: Math.round(meter.elapsedMs()),
        ...requestTraceFields(traces),
      });
      logRequestTrace(services.log, traces);
    },
    logFailure: (error) => {
      if (!(error instanceof RequestError) || error.data.status < 500) return;
      const { code, message: reason } = error.data;
      services.log.warn("generation failed", { id, request_id: c.get("requestId"), code, reason });
    },
  };
}

/** Under the name of this server, or llama.cpp's. */
function asksForTimings({ timings, timings_per_token }: SamplingFields): boolean {
  return timings === true || timings_per_token === true;
}

/** The name of the request's key, for the log. */
function keyNameOf(c: Context): Readonly<Record<string, string>> {
  const name = accountOf(c)?.rules.name;
  return name === undefined ? {} : { key: name };
}

/** How firmly the request's blocks stay cached, for the eviction policy `priority`. */
function retentionOf({ cache_retention: retention }: SamplingFields) {
  if (retention === undefined || retention === null) return {};
  const { priority, duration_ms: durationMs } = retention;
  const duration = durationMs === undefined || durationMs === null ? {} : { durationMs };
  return { cacheRetention: { priority, ...duration } };
}

/** Its own priority, for the scheduling policy `priority`. */
function requestPriorityOf({ priority }: SamplingFields) {
  return priority === undefined || priority === null ? {} : { requestPriority: priority };
}

/**
 * The decisions of one request that are still kept, in order, what each prompt found, and the way
 * of each sequence.
 */
function explain(
  { engine, metrics }: Services,
  id: string,
  { reports }: PromptWatch,
): Readonly<Record<string, unknown>> {
  const own = engine.decisions.from(0).filter(({ item }) => item.requestId === id);
  const prompts = reports.flatMap((report, index) =>
    report === undefined ? [] : { index, ...missJson(report) }
  );
  const decisions = own.map(({ item }) => decisionJson(withoutOthers(item)));
  const traces = metrics.requestTraces.ofRequest(id)
    .map((trace) => sequenceTraceJson(trace, { namesOthers: false }));
  return { quire: { decisions, prompts, traces } };
}

/** Stop tokens that the request named; the model's own end is reported without a `stop_reason`. */
function namedStops({ text }: Services, request: SamplingFields): ReadonlySet<TokenId> {
  const named = new Set(request.stop_token_ids ?? []);
  if (request.ignore_eos !== true) text.eosTokenIds.forEach((id) => named.delete(id));
  return named;
}
