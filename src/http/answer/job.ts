import type { ErrorData } from "../../core/errors.ts";
import type { SequenceRequest } from "../../core/generation.ts";
import type { PromptOrigin } from "../../core/prompt_origin.ts";
import type { Choice, ChoiceWriter } from "./choice_writer.ts";
import type { Collector, Usage } from "./collector.ts";
import type { GenerationMeter } from "../metrics/generation_meter.ts";
import type { SamplingFields } from "../fields/sampling_fields.ts";
import type { SseStyle } from "./sse.ts";

/** A checked and tokenized request, ready for the engine. */
export interface Job {
  /** Served name to report. */
  readonly model: string;
  readonly request: SamplingFields;
  readonly prompts: readonly Uint32Array[];
  /** What the one prompt of a chat was made of. */
  readonly origin?: PromptOrigin;
  /** Samples of prompt 0, then of prompt 1, and so on. */
  readonly sequences: readonly SequenceRequest[];
  readonly choiceWriter: ChoiceWriter;
  /** What stands around the choices; absent: OpenAI's `choices` (`openai/openai_writer.ts`). */
  readonly responseWriter?: ResponseWriter;
  readonly meter: GenerationMeter;
}

/** What an endpoint makes of the choices of an answer: one JSON, or a stream of events. */
export interface ResponseWriter {
  readonly style: SseStyle;
  /** Whether `whole` is given the choices of a stream, in the order in which they came. */
  readonly takesDeltas?: true;
  whole(running: RunningJob, choices: readonly Choice[]): object;
  events(running: RunningJob): AnswerEvents;
}

/** The events of one stream, in the order in which they are asked for. */
export interface AnswerEvents {
  /** Before any choice, as soon as the engine has accepted the request. */
  begin(): readonly object[];
  /** For the choices of one step, at least one. */
  next(choices: readonly Choice[]): readonly object[];
  /** Behind the last choice. */
  end(): readonly object[];
  /** In place of all that is left, for an answer that broke off. */
  fail(error: ErrorData): readonly object[];
}

/** The fields every answer and chunk begins with. */
export interface Envelope {
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

/** A job that the engine has accepted, and what reads and reports its answer. */
export interface RunningJob {
  readonly job: Job;
  readonly envelope: Envelope;
  readonly collector: Collector;
  /** What it asked to be told: its decisions with `explain`, its times with `timings`. */
  readonly explanation: () => Readonly<Record<string, unknown>>;
  /**
   * Log line of the end, with the `status` of an access log: 499 for a client that disconnected.
   */
  readonly logEnd: (status: number) => void;
  /** Log line of an answer that ended with an error of the engine; no line for others. */
  readonly logFailure: (error: unknown) => void;
}

/** Token counts so far, as an answer reports them; exact once its pieces have all been taken. */
export function usageOf({ job, collector }: RunningJob): Usage & Readonly<Record<string, unknown>> {
  const reasoning_tokens = job.choiceWriter.numReasoningTokens?.();
  if (reasoning_tokens === undefined) return { ...collector.usage() };
  return { ...collector.usage(), completion_tokens_details: { reasoning_tokens } };
}
