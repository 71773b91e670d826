/// <reference lib="dom" />
import { html, render } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Api } from "./api.ts";
import { Actions } from "./machine/actions.ts";
import { awayWords } from "./machine/away_words.ts";
import { BlockMap } from "./machine/block_map.ts";
import { Charts } from "./machine/charts.ts";
import { Feed, type Machine } from "./machine/feed.ts";
import { count, duration, percent } from "./machine/format.ts";
import { DecisionLog } from "./machine/log.ts";
import { Requests } from "./machine/requests.ts";
import { TreeCard } from "./machine/tree.ts";

/**
 * Shows the machine room in `element`.
 *
 * @returns ends it: timers, streams and listeners.
 */
export function mount(element: HTMLElement, api: Api): () => void {
  render(html`<${Room} api=${api} />`, element);
  return () => render(null as never, element);
}

function Room({ api }: { api: Api }) {
  const [version, setVersion] = useState(0);
  const [owner, setOwner] = useState<number>();
  const feed = useRef<Feed | undefined>(undefined);
  feed.current ??= new Feed(api, () => setVersion((last) => last + 1));
  useEffect(() => {
    feed.current!.open();
    return () => feed.current!.close();
  }, []);
  const { machine } = feed.current;
  if (machine.status === "locked") {
    return html`<${Locked} api=${api} reason=${machine.reason} onKey=${() =>
      feed.current!.open()} />`;
  }
  return html`
    <div class="room ${machine.status}" aria-busy=${String(machine.status !== "live")}>
      <div class="room-state" role="status">
        <${State} machine=${machine} />
      </div>
      <${Figures} machine=${machine} />
      <${BlockMap} machine=${machine} version=${version} owner=${owner} onOwner=${setOwner} />
      <${Requests} machine=${machine} api=${api} owner=${owner} onOwner=${setOwner} />
      <${Charts} machine=${machine} api=${api} />
      <${TreeCard} machine=${machine} api=${api} />
      <${DecisionLog} machine=${machine} />
      <${Actions} machine=${machine} api=${api} />
    </div>
  `;
}

/** Asks for the key that opens the room. */
function Locked({ api, reason, onKey }: { api: Api; reason: string; onKey: () => void }) {
  const [value, setValue] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    api.setKey(value);
    onKey();
  };
  return html`
    <form class="notice room-lock" onSubmit=${submit}>
      <h2>The machine room is for the operator</h2>
      <p>${reason}.</p>
      <label for="admin-key">Admin key</label>
      <div class="room-field">
        <input
          id="admin-key"
          type="password"
          autocomplete="off"
          required
          value=${value}
          onInput=${(event: Event) => setValue((event.currentTarget as HTMLInputElement).value)}
        />
        <button class="button primary">Open</button>
      </div>
    </form>
  `;
}

/** The figures that matter most, in a row. */
function Figures({ machine }: { machine: Machine }) {
  const { stats, moments } = machine;
  const last = moments.at(-1);
  const numBlocks = stats.numBlocks ?? 0;
  const numFree = stats.numFreeBlocks ?? 0;
  const numCached = stats.numCachedBlocks ?? 0;
  const share = (blocks: number) => numBlocks === 0 ? undefined : blocks / numBlocks;
  const { numSwapBlocks = 0, numUsedSwapBlocks = 0 } = stats;
  const hitRate = (stats.numQueriedTokens ?? 0) === 0
    ? undefined
    : stats.numHitTokens! / stats.numQueriedTokens!;
  const figures: readonly (readonly [string, string])[] = [
    ["Running", count(stats.numRunning ?? 0)],
    ["Waiting", count(stats.numWaiting ?? 0)],
    ["Tokens/s", last === undefined ? "–" : count(last.generated_per_s)],
    ["First token", duration(lastOf(machine, "ttft_p50_ms"))],
    ["Between tokens", duration(lastOf(machine, "inter_token_p50_ms"))],
    ["Pool in use", percent(share(numBlocks - numFree - numCached))],
    ["Pool cached", percent(share(numCached))],
    ["Hit rate", percent(hitRate)],
    ["Preemptions", count(stats.numPreemptions ?? 0)],
    ...numSwapBlocks === 0
      ? []
      : [["Host memory", percent(numUsedSwapBlocks / numSwapBlocks)] as const],
    ...machine.numRestarts === 0 ? [] : [["Engine restarts", count(machine.numRestarts)] as const],
  ];
  return html`
    <dl class="room-figures">
      ${figures.map(([name, value]) =>
        html`
          <div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>
        `
      )}
    </dl>
  `;
}

function lastOf({ moments }: Machine, name: "ttft_p50_ms" | "inter_token_p50_ms") {
  return moments.findLast((moment) => moment[name] !== null)?.[name];
}

/**
 * Lies over the room and says why it shows nothing. What is added is read out, and not the seconds
 * as they pass.
 */
function State({ machine: { status, reason, away } }: { machine: Machine }) {
  if (away !== undefined) {
    const { title, facts } = awayWords(away);
    return html`
      <section class="notice outage" aria-labelledby="outage-title">
        <h2 id="outage-title">${title}</h2>
        <p class="outage-reason">${reason}</p>
        ${facts.map((sentence) => html`<p>${sentence}</p>`)}
      </section>
    `;
  }
  if (status === "live") return null;
  return html`<span>${status === "connecting" ? "Looking into the engine" : reason}</span>`;
}
