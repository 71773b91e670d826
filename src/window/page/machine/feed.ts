/// <reference lib="dom" />
import { type Api, ApiError, errorOf } from "../api.ts";
import { applyChanges, type BlockPicture, emptyPicture, fromBase64 } from "./codec.ts";
import type {
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
      await readMessages(response, (message) => this.#receive(message));
      throw new Error("The server has ended the stream");
    } catch (error) {
      if (signal.aborted) return;
      const isLocked = error instanceof ApiError && (error.status === 401 || error.status === 403);
      this.machine.status = isLocked ? "locked" : "away";
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
      machine.reason = message.reason ?? `The engine is ${message.state}`;
      machine.timelines.clear();
      machine.sequences = [];
    } else this.#show(message);
    this.#onChange();
  }

  #show(frame: FrameMessage): void {
    const { machine } = this;
    machine.status = "live";
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

/** Reads server-sent events of JSON until they end. */
async function readMessages(
  response: Response,
  receive: (message: Message) => void,
): Promise<void> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop()!;
    for (const event of events) {
      if (event.startsWith("data: ")) receive(JSON.parse(event.slice("data: ".length)));
    }
  }
}
