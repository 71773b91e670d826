/** A run of the radix tree, as frames tell of it. */
export interface Run {
  readonly node: number;
  readonly hash: number;
  readonly parent: number;
  readonly scope: number;
  readonly blocks: number;
  readonly below: number;
  readonly hits: number;
  readonly idle_s: number;
  readonly holders: number;
  readonly pinned: boolean;
}

/** The largest and most used runs of the radix tree. */
export interface Tree {
  readonly scopes: readonly string[];
  readonly num_runs: number;
  readonly num_blocks: number;
  readonly runs: readonly Run[];
}

/** An unfinished sequence. */
export interface SequenceRow {
  readonly id: number;
  readonly request_id: string;
  readonly index: number;
  readonly state: "running" | "waiting";
  readonly prompt_tokens: number;
  readonly tokens: number;
  readonly computed_tokens: number;
  readonly cached_tokens: number;
  readonly preemptions: number;
}

/** A step: number, end (Unix ms), ms of schedule, host and device, chunks, tokens. */
export type StepRow = readonly [number, number, number, number, number, number, number];

/** A chunk: sequence, step, time (Unix ms), first position, tokens. */
export type ChunkRow = readonly [number, number, number, number, number];

/** A second of the server. */
export interface Moment {
  readonly time_ms: number;
  readonly generated_per_s: number;
  readonly prompt_per_s: number;
  readonly cached_per_s: number;
  readonly running: number;
  readonly waiting: number;
  readonly ttft_p50_ms: number | null;
  readonly ttft_p95_ms: number | null;
  readonly inter_token_p50_ms: number | null;
  readonly inter_token_p95_ms: number | null;
  readonly hit_rate: number | null;
  readonly in_use: number;
  readonly cached: number;
}

/** An entry of the log of decisions. */
export interface Decision {
  readonly seq: number;
  readonly type: string;
  readonly step: number;
  readonly time_ms?: number;
  readonly sequence_id?: number;
  readonly request_id?: string;
  readonly index?: number;
  readonly reason?: string;
  readonly num_tokens?: number;
  readonly num_cached_tokens?: number;
  readonly num_blocks?: number;
  readonly text: string;
}

/** An engine that was lost, and is to be replaced. */
export interface Outage {
  /** Since it was lost. */
  readonly seconds: number;
  /** Engines lost without a completed answer in between, and how many are the end. */
  readonly failures_in_a_row: number;
  readonly failures_allowed?: number;
  /** Until another is started; absent while it starts. */
  readonly next_try_in_seconds?: number;
  /** Requests that go on with the next engine. */
  readonly requests_kept: number;
}

/** What `GET /admin/machine` sends. */
export type Message =
  | { readonly type: "hello"; readonly scope: string; readonly history: readonly Moment[] }
  | {
    readonly type: "away";
    readonly time_ms: number;
    readonly state: "starting" | "ready" | "restarting" | "draining" | "failed";
    readonly reason: string;
    readonly outage?: Outage;
    /** Since an engine that is there last got on with its work. */
    readonly stalled_seconds?: number;
  }
  | {
    readonly type: "frame";
    readonly is_whole: boolean;
    readonly time_ms: number;
    readonly step: number;
    readonly block_size: number;
    readonly groups: readonly string[];
    readonly blocks: { readonly count: number; readonly changes: string };
    readonly stats: Readonly<Record<string, number>>;
    readonly restarts: number;
    readonly notice?: string;
    readonly sequences: readonly SequenceRow[];
    readonly hidden_sequences: number;
    readonly steps: readonly StepRow[];
    readonly chunks: readonly ChunkRow[];
    readonly tree?: Tree;
    readonly moment?: Moment;
    readonly decisions: readonly Decision[];
  };

/** A message that shows the engine. */
export type FrameMessage = Extract<Message, { readonly type: "frame" }>;

/** A message that says why there is no engine to show. */
export type AwayMessage = Extract<Message, { readonly type: "away" }>;
