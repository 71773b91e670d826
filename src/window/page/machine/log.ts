/// <reference lib="dom" />
import { html } from "htm/preact";
import { useRef, useState } from "preact/hooks";
import type { Machine } from "./feed.ts";
import { clockTime, count } from "./format.ts";
import type { Decision } from "./frames.ts";

/** Lines that are shown at once. */
const MAX_LINES = 200;

const TYPES: readonly (readonly [name: string, types: readonly string[]])[] = [
  ["all decisions", []],
  ["waits", ["queue", "wait"]],
  ["admissions and hits", ["admit", "hit"]],
  ["blocks taken and given back", ["allocate", "free", "copy"]],
  ["evictions", ["evict"]],
  ["prompts computed, first tokens and ends", ["chunk", "first_token", "finish", "end"]],
  ["preemptions and swaps", ["preempt", "swap_out", "recompute", "swap_in", "swap_drop"]],
  ["sizes of the pool", ["resize", "refuse_growth"]],
];

/** The log of decisions: the latest first, filtered by kind and by words, and held on demand. */
export function DecisionLog({ machine }: { machine: Machine }) {
  const [kind, setKind] = useState(0);
  const [words, setWords] = useState("");
  const [held, setHeld] = useState<readonly Decision[]>();
  const list = useRef<HTMLOListElement>(null);
  const [, types] = TYPES[kind]!;
  const wanted = words.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const found = (held ?? machine.decisions).filter(({ type, text, request_id }) => {
    if (types.length > 0 && !types.includes(type)) return false;
    const line = `${type} ${text} ${request_id ?? ""}`.toLowerCase();
    return wanted.every((word) => line.includes(word));
  });
  const shown = found.slice(-MAX_LINES).reverse();
  return html`
    <section class="card log-card" aria-labelledby="log-title">
      <header class="card-head">
        <h2 id="log-title">Decisions</h2>
        <p class="card-note">${count(found.length)} of the latest ${count(
          (held ?? machine.decisions).length,
        )}</p>
        <div class="card-tools">
          <select
            aria-label="Kind of decision"
            value=${kind}
            onChange=${(event: Event) =>
              setKind(Number((event.currentTarget as HTMLSelectElement).value))}
          >
            ${TYPES.map(([name], at) => html`<option value=${at}>${name}</option>`)}
          </select>
          <input
            type="search"
            placeholder="Filter: a request, a word"
            aria-label="Filter decisions by request or word"
            value=${words}
            onInput=${(event: Event) => setWords((event.currentTarget as HTMLInputElement).value)}
          />
          <button
            type="button"
            class="button"
            aria-pressed=${String(held !== undefined)}
            onClick=${() => setHeld(held === undefined ? machine.decisions : undefined)}
          >${held === undefined ? "Hold" : "Go on"}</button>
        </div>
      </header>
      <ol class="log" ref=${list} tabindex="0" aria-label="Decisions, the latest first">
        ${shown.map(({ seq, type, time_ms, text }) =>
          html`
            <li key=${seq}>
              <time>${clockTime(time_ms)}</time>
              <span class="pill ${type}">${type.replace("_", " ")}</span>
              <span class="log-text">${text}</span>
            </li>
          `
        )}
        ${shown.length === 0 && html`<li class="empty">No decision fits.</li>`}
      </ol>
    </section>
  `;
}
