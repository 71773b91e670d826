/// <reference lib="dom" />
import { type Api, ApiError, errorOf } from "../api.ts";
import { eventsOf } from "../event_stream.ts";
import { applyChanges, type BlockPicture, emptyPicture, fromBase64 } from "./codec.ts";
import type {
  AwayMessage,
  Decision,
  FrameMessage,
  Message,
  Moment,
  SequenceRow,
  StepRow,
  Tree,
} from "./frames.ts";
import { Timelines } from "./timelines.ts";

/** What the room shows; it changes in place, and the feed says when. */
export interface Machine {
  /** `locked`: the key does not open it; `away`: the engine or the server is not there. */
  status: "connecting" | "live" | "away" | "locked";
  /** Why there is nothing to see, one sentence. */
  reason: string;
  /** Why there is no engine; absent while there is one, or the server does not answer. */
  away: AwayMessage | undefined;
  /** What is not as it was configured, one sentence; empty where all is. */
  notice: string;
  /** Engines started in place of one that was lost. */
  numRestarts: number;
  /** The viewer's own cache scope. */
  scope: string;
  blockSize: number;
  groups: readonly string[];
  picture: BlockPicture;
  stats: Readonly<Record<string, number>>;
  sequences: readonly SequenceRow[];
  numHidden: number;
  tree: Tree | undefined;
  steps: StepRow[];
  moments: Moment[];
  decisions: Decision[];
  readonly timelines: Timelines;
  /** Time of the latest frame by the server's clock, Unix ms. */
  timeMs: number;
}

const MAX_STEPS = 240;
const MAX_MOMENTS = 900;
const MAX_DECISIONS = 4000;
const RETRY_MS = 1500;

/** Follows `GET /admin/machine`, and starts again when it ends. */
export class Feed {
  readonly machine: Machine = {
    status: "connecting",
    reason: "",
    away: undefined,
    notice: "",
    numRestarts: 0,
    scope: "",
    blockSize: 0,
    groups: [],
    picture: emptyPicture(0),
    stats: {},
    sequences: [],
    numHidden: 0,
    tree: undefined,
    steps: [],
    moments: [],
    decisions: [],
    timelines: new Timelines(),
    timeMs: 0,
  };
  readonly #api: Api;
  readonly #onChange: () => void;
  #abort = new AbortController();
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** `onChange` is called after each change of the machine. */
  constructor(api: Api, onChange: () => void) {
    this.#api = api;
    this.#onChange = onChange;
  }

  /** Connects, also anew, as after another key. */
  open(): void {
    this.close();
    this.#abort = new AbortController();
    void this.#follow(this.#abort.signal);
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#abort.abort();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      const response = await this.#api.fetch("admin/machine", { signal });
      if (!response.ok) throw await errorOf(response);
      // Ends with an error: there is no last message.
      for await (const message of eventsOf(response.body!)) this.#receive(message as Message);
    } catch (error) {
      if (signal.aborted) return;
      const isLocked = error instanceof ApiError && (error.status === 401 || error.status === 403);
      this.machine.status = isLocked ? "locked" : "away";
      this.machine.away = undefined;
      this.machine.reason = error instanceof ApiError
        ? error.message
        : "The server does not answer";
      this.#onChange();
      if (!isLocked) this.#retry = setTimeout(() => this.open(), RETRY_MS);
    }
  }

  #receive(message: Message): void {
    const { machine } = this;
    if (message.type === "hello") {
      machine.scope = message.scope;
      machine.moments = [...message.history];
      return void this.#readLog();
    }
    if (message.type === "away") {
      machine.status = "away";
      machine.reason = message.reason;
      machine.away = message;
      machine.timeMs = message.time_ms;
      // The next engine numbers its sequences anew.
      if (message.stalled_seconds === undefined) {
        machine.timelines.clear();
        machine.sequences = [];
      }
    } else this.#show(message);
    this.#onChange();
  }

  #show(frame: FrameMessage): void {
    const { machine } = this;
    machine.status = "live";
    machine.away = undefined;
    machine.notice = frame.notice ?? "";
    machine.numRestarts = frame.restarts;
    machine.timeMs = frame.time_ms;
    machine.blockSize = frame.block_size;
    machine.groups = frame.groups;
    if (frame.is_whole) machine.picture = emptyPicture(frame.blocks.count);
    applyChanges(machine.picture, fromBase64(frame.blocks.changes));
    machine.stats = frame.stats;
    machine.sequences = frame.sequences;
    machine.numHidden = frame.hidden_sequences;
    if (frame.tree !== undefined) machine.tree = frame.tree;
    machine.steps = [...machine.steps, ...frame.steps].slice(-MAX_STEPS);
    // What the frame of a viewer who comes late tells may be known from the history.
    const lastMs = machine.moments.at(-1)?.time_ms ?? 0;
    if (frame.moment !== undefined && frame.moment.time_ms > lastMs) {
      machine.moments = [...machine.moments, frame.moment].slice(-MAX_MOMENTS);
    }
    const nextSeq = (machine.decisions.at(-1)?.seq ?? -1) + 1;
    const news = frame.decisions.filter(({ seq }) => seq >= nextSeq);
    if (news.length > 0 && nextSeq > 0 && news[0]!.seq > nextSeq) void this.#readLog();
    else this.#note(news);
    for (const chunk of frame.chunks) machine.timelines.chunk(chunk);
    machine.timelines.keep(frame.sequences, frame.hidden_sequences === 0);
  }

  /** Reads the decisions that are kept, at the beginning and where some were missed. */
  async #readLog(): Promise<void> {
    try {
      const { entries } = await this.#api.fetchJson(`admin/kv/log?limit=${MAX_DECISIONS}`);
      const { machine } = this;
      const known = entries as Decision[];
      const nextSeq = (known.at(-1)?.seq ?? -1) + 1;
      const later = machine.decisions.filter(({ seq }) => seq >= nextSeq);
      machine.decisions = [];
      machine.timelines.clear();
      this.#note([...known, ...later]);
      this.#onChange();
    } catch {
      // The stream says what is wrong.
    }
  }

  #note(decisions: readonly Decision[]): void {
    if (decisions.length === 0) return;
    for (const decision of decisions) this.machine.timelines.decide(decision);
    this.machine.decisions = [...this.machine.decisions, ...decisions].slice(-MAX_DECISIONS);
  }
}
