/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../api.ts";
import type { Machine } from "./feed.ts";
import type { Run, Tree } from "./frames.ts";
import { count, duration } from "./format.ts";

const ROW_PX = 30;

/** A run and where it is drawn: shares of the width, and a row. */
interface Placed {
  readonly run: Run;
  readonly at: number;
  readonly left: number;
  readonly width: number;
  readonly row: number;
  /** Blocks of the runs above it. */
  readonly above: number;
}

/** The radix tree as an icicle: what lies below a run hangs below it, as wide as it has blocks. */
export function TreeCard({ machine, api }: { machine: Machine; api: Api }) {
  const { tree } = machine;
  const [chosen, setChosen] = useState<Placed>();
  const placed = tree === undefined ? [] : place(tree);
  // Runs are cut anew as holders come and go: one that is no more is shown as it was.
  const same = placed.find(({ run }) =>
    run.node === chosen?.run.node && run.hash === chosen.run.hash
  );
  const shown = same ?? chosen;
  return html`
    <section class="card tree-card" aria-labelledby="tree-title">
      <header class="card-head">
        <h2 id="tree-title">Prefix cache</h2>
        <p class="card-note">${noteOf(tree)}</p>
        <p class="key" aria-hidden="true">
          wide: blocks
          <span class="key-mark hot"></span> warm: hits
          <span class="key-mark held"></span> underlined: in use
        </p>
      </header>
      <div class="icicle-box">
        ${placed.length === 0
          ? html`<p class="empty">${
            tree === undefined ? "No prefix cache." : "Nothing is cached yet."
          }</p>`
          : html`
            <${Icicle}
              placed=${placed}
              blockSize=${machine.blockSize}
              chosen=${shown}
              onChoose=${setChosen}
            />
          `}
      </div>
      <div class="run-detail" aria-live="polite">
        ${shown === undefined
          ? html`<p class="hint">Choose a run to see who shares it and, where it is of your own key, its text.</p>`
          : html`
            <${RunDetail}
              key=${`${shown.run.node}/${shown.run.hash}`}
              placed=${shown}
              machine=${machine}
              api=${api}
            />
          `}
      </div>
    </section>
  `;
}

function Icicle({ placed, blockSize, chosen, onChoose }: {
  placed: readonly Placed[];
  blockSize: number;
  chosen: Placed | undefined;
  onChoose: (run: Placed) => void;
}) {
  const depth = Math.max(...placed.map(({ row }) => row)) + 1;
  const maxHits = Math.max(1, ...placed.map(({ run }) => run.hits));
  return html`
    <div
      class="icicle"
      role="tree"
      aria-label="Radix tree of cached prefixes"
      style=${{ height: `${depth * ROW_PX}px` }}
    >${placed.map((each) =>
      html`
        <${RunButton}
          key=${`${each.run.node}/${each.run.hash}`}
          placed=${each}
          blockSize=${blockSize}
          heat=${each.run.hits / maxHits}
          isChosen=${each === chosen}
          onChoose=${() => onChoose(each)}
        />
      `
    )}</div>
  `;
}

function RunButton({ placed, blockSize, heat, isChosen, onChoose }: {
  placed: Placed;
  blockSize: number;
  heat: number;
  isChosen: boolean;
  onChoose: () => void;
}) {
  const { run, left, width, row } = placed;
  const words = `${count(run.blocks * blockSize)} tokens, ${count(run.hits)} hits, held by ${
    holdersOf(run)
  }`;
  const level = heat === 0 ? 0 : 1 + Math.min(4, Math.floor(5 * Math.sqrt(heat)));
  return html`
    <button
      type="button"
      role="treeitem"
      class="run heat-${level} ${run.holders > 0 ? "held" : ""} ${run.pinned ? "pinned" : ""}"
      aria-level=${row + 1}
      aria-selected=${String(isChosen)}
      title=${words}
      aria-label=${words}
      style=${{ left: `${100 * left}%`, width: `${100 * width}%`, top: `${row * ROW_PX}px` }}
      onClick=${onChoose}
    >
      <span>${count(run.blocks * blockSize)}${run.holders > 1
        ? html`
          <b>×${run.holders}</b>
        `
        : ""}</span>
    </button>
  `;
}

function RunDetail({ placed, machine, api }: { placed: Placed; machine: Machine; api: Api }) {
  const { run, above } = placed;
  const { blockSize, tree } = machine;
  const scope = tree?.scopes[run.scope] ?? "";
  const isOwn = scope === machine.scope;
  const [text, setText] = useState<string>();
  useEffect(() => {
    if (!isOwn) return;
    const skip = above * blockSize;
    const query = `node=${run.node}&hash=${run.hash}&skip=${skip}`;
    api.fetchJson(`admin/machine/path?${query}`)
      .then((answer) => setText(answer.text))
      .catch((error) => setText(`(${error.message})`));
  }, []);
  return html`
    <dl class="facts">
      <div>
        <dt>Tokens</dt>
        <dd>${count(run.blocks * blockSize)}</dd>
      </div>
      <div>
        <dt>Behind</dt>
        <dd>${count(above * blockSize)}</dd>
      </div>
      <div>
        <dt>Below</dt>
        <dd>${count(run.below * blockSize)}</dd>
      </div>
      <div>
        <dt>Hits</dt>
        <dd>${count(run.hits)}</dd>
      </div>
      <div>
        <dt>Last hit</dt>
        <dd>${run.idle_s < 0 ? "never" : `${duration(run.idle_s * 1000)} ago`}</dd>
      </div>
      <div>
        <dt>Held by</dt>
        <dd>${holdersOf(run)}${run.pinned ? ", pinned" : ""}</dd>
      </div>
      <div>
        <dt>Scope</dt>
        <dd>${scope === "" ? "open" : scope}${isOwn ? " (yours)" : ""}</dd>
      </div>
    </dl>
    <pre class="run-text" tabindex="0" aria-label="Text of the run">${isOwn
      ? text ?? "…"
      : "Its text is of another key: only its size is shown."}</pre>
  `;
}

function noteOf(tree: Tree | undefined): string {
  if (tree === undefined || tree.num_blocks === 0) return "";
  const hidden = tree.num_runs - tree.runs.length;
  const more = hidden > 0 ? `, ${count(hidden)} smaller ones not shown` : "";
  return `${count(tree.num_blocks)} blocks in ${count(tree.num_runs)} runs${more}`;
}

function holdersOf({ holders }: Run): string {
  return holders === 0 ? "nobody" : count(holders);
}

/** Where runs are drawn; each comes behind the one above it. */
function place({ runs, num_blocks }: Tree): Placed[] {
  const placed: Placed[] = [];
  /** Where the next child of a run begins; at -1, of the roots. */
  const next = new Map<number, number>([[-1, 0]]);
  runs.forEach((run, at) => {
    const parent = placed[run.parent];
    // Those below a run share its width among them.
    const [width, whole] = parent === undefined
      ? [1, Math.max(1, num_blocks)]
      : [parent.width, parent.run.below];
    const share = width * (run.blocks + run.below) / whole;
    const left = next.get(run.parent) ?? 0;
    next.set(run.parent, left + share);
    next.set(at, left);
    const row = parent === undefined ? 0 : parent.row + 1;
    const above = parent === undefined ? 0 : parent.above + parent.run.blocks;
    placed.push({ run, at, left, width: share, row, above });
  });
  return placed;
}
