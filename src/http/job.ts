import type { SequenceRequest } from "../core/generation.ts";
import type { AnswerFormat } from "./answer_format.ts";
import type { Collector } from "./collector.ts";
import type { GenerationMeter } from "./generation_meter.ts";
import type { SamplingFields } from "./sampling_fields.ts";

/** A checked and tokenized request, ready for the engine. */
export interface Job {
  /** Served name to report. */
  readonly model: string;
  readonly request: SamplingFields;
  readonly prompts: readonly Uint32Array[];
  /** Samples of prompt 0, then of prompt 1, and so on. */
  readonly sequences: readonly SequenceRequest[];
  readonly format: AnswerFormat;
  readonly meter: GenerationMeter;
}

/** The fields every answer and chunk begins with. */
export interface Envelope {
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

/** An admitted job. */
export interface Run {
  readonly job: Job;
  readonly envelope: Envelope;
  readonly collector: Collector;
  /** Why the request went as it did, for those who asked with `explain`; else nothing. */
  readonly explanation: () => Readonly<Record<string, unknown>>;
  /** Log line of the end; `status` as an access log would have it, 499 for a client that left. */
  readonly logEnd: (status: number) => void;
  /**
   * Log line of an answer that the engine has ended with an error of its own; nothing for others.
   */
  readonly logFailure: (error: unknown) => void;
}
