/// <reference lib="dom" />
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import type { Api } from "../api.ts";
import type { Machine } from "./feed.ts";
import { count } from "./format.ts";

/** What an operator may do: each action says what came of it. */
export function Actions({ machine, api }: { machine: Machine; api: Api }) {
  const [words, setWords] = useState("");
  const [isBad, setIsBad] = useState(false);
  const [isBusy, setIsBusy] = useState(false);
  /** Asks the server, and tells its answer. */
  const act = async (path: string, init: RequestInit, tell: (answer: Answer) => string) => {
    setIsBusy(true);
    try {
      setWords(tell(await api.fetchJson(path, init)));
      setIsBad(false);
    } catch (error) {
      setWords((error as Error).message);
      setIsBad(true);
    }
    setIsBusy(false);
  };
  return html`
    <section class="card actions-card" aria-labelledby="actions-title">
      <header class="card-head">
        <h2 id="actions-title">Operate</h2>
        <p class="card-note">with the admin key, where the server has one</p>
      </header>
      <fieldset class="actions" disabled=${isBusy || machine.status !== "live"}>
        <legend class="visually-hidden">Actions</legend>
        <${Resize} machine=${machine} act=${act} />
        <${Pin} act=${act} />
        <${Reset} act=${act} />
      </fieldset>
      <p class="action-words ${isBad ? "bad" : ""}" role="status">${words}</p>
    </section>
  `;
}

// deno-lint-ignore no-explicit-any -- answers are JSON of many shapes
type Answer = any;
type Act = (path: string, init: RequestInit, tell: (answer: Answer) => string) => Promise<void>;

function post(body: unknown): RequestInit {
  return { method: "POST", body: JSON.stringify(body) };
}

function Resize({ machine, act }: { machine: Machine; act: Act }) {
  const [size, setSize] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    void act(
      "admin/kv/resize",
      post({ num_blocks: Number(size) }),
      (answer) =>
        `The pool has ${count(answer.after.num_blocks)} blocks, before ${
          count(answer.before.num_blocks)
        }; ${count(answer.evicted_blocks)} evicted, ${count(answer.moved_blocks)} moved.`,
    );
  };
  return html`
    <form onSubmit=${submit}>
      <label for="resize-blocks">Pool size, blocks</label>
      <div class="room-field">
        <input
          id="resize-blocks"
          type="number"
          min="1"
          step="1"
          required
          placeholder=${machine.stats.numBlocks ?? ""}
          value=${size}
          onInput=${(event: Event) => setSize((event.currentTarget as HTMLInputElement).value)}
        />
        <button class="button">Resize</button>
      </div>
    </form>
  `;
}

function Pin({ act }: { act: Act }) {
  const [name, setName] = useState("");
  const [prompt, setPrompt] = useState("");
  const pin = (event: Event) => {
    event.preventDefault();
    void act(
      "admin/kv/pins",
      post({ name, prompt }),
      (answer) =>
        `${answer.name} pins ${count(answer.n_tokens)} of ${
          count(answer.n_prompt_tokens)
        } tokens, ${count(answer.n_blocks)} blocks.`,
    );
  };
  const unpin = () =>
    void act(
      `admin/kv/pins/${encodeURIComponent(name)}`,
      { method: "DELETE" },
      () => `${name} is no longer pinned.`,
    );
  return html`
    <form onSubmit=${pin}>
      <label for="pin-name">Pin a prompt that is cached</label>
      <div class="room-field">
        <input
          id="pin-name"
          required
          pattern="[A-Za-z0-9._\\-]{1,100}"
          placeholder="name"
          aria-label="Name of the pin"
          value=${name}
          onInput=${(event: Event) => setName((event.currentTarget as HTMLInputElement).value)}
        />
        <input
          required
          placeholder="its first words, exactly"
          aria-label="Prompt to pin"
          value=${prompt}
          onInput=${(event: Event) => setPrompt((event.currentTarget as HTMLInputElement).value)}
        />
        <button class="button">Pin</button>
        <button type="button" class="button" disabled=${name === ""} onClick=${unpin}>Unpin</button>
      </div>
    </form>
  `;
}

function Reset({ act }: { act: Act }) {
  const [isAsking, setIsAsking] = useState(false);
  const [preempts, setPreempts] = useState(false);
  const submit = (event: Event) => {
    event.preventDefault();
    if (!isAsking) return setIsAsking(true);
    setIsAsking(false);
    void act(
      `reset_prefix_cache?preempt=${preempts}`,
      { method: "POST" },
      (answer) => `The prefix cache is empty; ${count(answer.preempted)} sequences were preempted.`,
    );
  };
  return html`
    <form onSubmit=${submit}>
      <span class="label">Prefix cache</span>
      <div class="room-field">
        <button class="button ${isAsking ? "danger" : ""}">${isAsking
          ? "Forget all of it?"
          : "Reset"}</button>
        <label class="check">
          <input
            type="checkbox"
            checked=${preempts}
            onChange=${(event: Event) =>
              setPreempts((event.currentTarget as HTMLInputElement).checked)}
          />
          preempt what runs
        </label>
        ${isAsking &&
          html`<button type="button" class="button" onClick=${() =>
            setIsAsking(false)}>Keep</button>`}
      </div>
    </form>
  `;
}
