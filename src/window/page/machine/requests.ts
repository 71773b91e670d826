/// <reference lib="dom" />
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import type { Api } from "../api.ts";
import { colourOf, useColours } from "./colours.ts";
import type { Machine } from "./feed.ts";
import { clockTime, count, duration, shortId } from "./format.ts";
import type { SequenceRow } from "./frames.ts";
import { type Mark, spansOf, type Timeline } from "./timelines.ts";

/** The time that timelines show, ms. */
const SHOWN_MS = 30_000;

/** Rows of ended sequences. */
const MAX_ENDED_ROWS = 8;

/** What runs, what waits and why, and what has ended of late. */
export function Requests({ machine, api, owner, onOwner }: {
  machine: Machine;
  api: Api;
  owner: number | undefined;
  onOwner: (id: number | undefined) => void;
}) {
  const { sequences, timelines, numHidden } = machine;
  const numRunning = machine.stats.numRunning ?? 0;
  const numWaiting = machine.stats.numWaiting ?? 0;
  const ended = timelines.ended.slice(0, MAX_ENDED_ROWS);
  // A row stays the same one when its request ends.
  const rows: { row?: SequenceRow; timeline: Timeline | undefined; key: string }[] = [
    ...sequences.map((row) => ({
      row,
      timeline: timelines.of(row.id),
      key: `${row.request_id}/${row.id}`,
    })),
    ...ended.map((timeline) => ({ timeline, key: `${timeline.requestId}/${timeline.id}` })),
  ];
  const hidden = numHidden > 0 ? `, ${count(numHidden)} not listed` : "";
  return html`
    <section class="card requests-card" aria-labelledby="requests-title">
      <header class="card-head">
        <h2 id="requests-title">Requests</h2>
        <p class="card-note">
          ${count(numRunning)} running, ${count(numWaiting)} waiting${hidden}
        </p>
        <p class="key" aria-hidden="true">
          <span class="key-mark waiting"></span> queued
          <span class="key-mark running"></span> running
          <span class="key-mark chunk"></span> prefill chunk
          <span class="key-mark preempt"></span> preempted
        </p>
      </header>
      <ul class="rows" aria-label="Requests">
        ${rows.map(({ row, timeline, key }) =>
          html`
            <${Row}
              key=${key}
              machine=${machine}
              api=${api}
              row=${row}
              timeline=${timeline}
              isOwner=${row !== undefined && row.id === owner}
              onOwner=${onOwner}
            />
          `
        )}
        ${rows.length === 0 &&
          html`<li class="empty">Nothing has been asked of the engine yet.</li>`}
      </ul>
    </section>
  `;
}

function Row({ machine, api, row, timeline, isOwner, onOwner }: {
  machine: Machine;
  api: Api;
  row: SequenceRow | undefined;
  timeline: Timeline | undefined;
  isOwner: boolean;
  onOwner: (id: number | undefined) => void;
}) {
  const [isOpen, setIsOpen] = useState(false);
  const { isDark } = useColours();
  const id = row?.id ?? timeline!.id;
  const requestId = row?.request_id ?? timeline!.requestId;
  const name = shortId(requestId, row?.index ?? timeline!.index);
  const state = row?.state ?? "ended";
  const toggle = () => {
    setIsOpen(!isOpen);
    onOwner(isOpen || row === undefined ? undefined : id);
  };
  return html`
    <li class="request ${state} ${isOwner ? "is-owner" : ""}">
      <button type="button" class="request-head" aria-expanded=${String(isOpen)} onClick=${toggle}>
        <span class="request-name" title=${requestId}>
          <i class="request-colour" style=${{ background: colourOf(id, isDark) }}></i>${name}
        </span>
        <span class="request-state">${state}</span>
        <span class="request-words">${wordsOf(row, timeline)}</span>
        <${Strip} timeline=${timeline} nowMs=${machine.timeMs} />
      </button>
      ${isOpen &&
        html`<${Detail} api=${api} row=${row} requestId=${requestId} timeline=${timeline} />`}
    </li>
  `;
}

/** The last half minute of a sequence as a strip. */
function Strip({ timeline, nowMs }: { timeline: Timeline | undefined; nowMs: number }) {
  const beganMs = nowMs - SHOWN_MS;
  const at = (timeMs: number) => 1000 * Math.max(0, Math.min(1, (timeMs - beganMs) / SHOWN_MS));
  const spans = timeline === undefined ? [] : spansOf(timeline, nowMs);
  const marks =
    timeline?.marks.filter(({ kind, timeMs }) =>
      (kind === "chunk" || kind === "preempt") && timeMs >= beganMs
    ) ?? [];
  return html`
    <svg class="strip" viewBox="0 0 1000 18" preserveAspectRatio="none" aria-hidden="true">
      <rect class="strip-ground" x="0" y="8.500" width="1000" height="1" />
      ${spans.filter(({ toMs }) => toMs >= beganMs).map(({ state, fromMs, toMs }) =>
        html`
          <rect
            class=${state}
            x=${at(fromMs)}
            y=${state === "running" ? 4 : 6}
            width=${Math.max(3, at(toMs) - at(fromMs))}
            height=${state === "running" ? 10 : 6}
          />
        `
      )}
      ${marks.map(({ kind, timeMs }) =>
        html`
          <rect class=${kind} x=${at(timeMs) - 1.5} y="1" width=${kind === "chunk" ? 2.5 : 5}
            height="16" />
        `
      )}
    </svg>
  `;
}

function Detail({ api, row, requestId, timeline }: {
  api: Api;
  row: SequenceRow | undefined;
  requestId: string;
  timeline: Timeline | undefined;
}) {
  const [words, setWords] = useState("");
  const [isAsking, setIsAsking] = useState(false);
  const abort = async () => {
    try {
      await api.fetchJson(`admin/requests/${encodeURIComponent(requestId)}`, { method: "DELETE" });
      setWords("Aborted.");
    } catch (error) {
      setWords((error as Error).message);
    }
    setIsAsking(false);
  };
  const first = timeline?.marks[0]?.timeMs ?? 0;
  return html`
    <div class="request-detail">
      ${row !== undefined && html`<${Progress} row=${row} />`}
      <ol class="marks">
        ${(timeline?.marks ?? []).slice(-40).map((mark: Mark) =>
          html`
            <li class=${mark.kind}>
              <time>${clockTime(mark.timeMs)}</time>
              <span class="after">+${duration(mark.timeMs - first)}</span>
              <span>${mark.kind === "wait" ? `waits: ${mark.words}` : mark.words}</span>
            </li>
          `
        )}
      </ol>
      <div class="request-actions">
        <code>${requestId}</code>
        ${row !== undefined && (isAsking
          ? html`
            <button type="button" class="button danger" onClick=${abort}>Abort for its client?</button>
            <button type="button" class="button" onClick=${() => setIsAsking(false)}>Keep</button>
          `
          : html`
            <button type="button" class="button" onClick=${() => setIsAsking(true)}>Abort</button>
          `)}
        <span role="status">${words}</span>
      </div>
    </div>
  `;
}

/** How far the prompt is, and what came of it. */
function Progress({ row }: { row: SequenceRow }) {
  const { prompt_tokens: prompt, cached_tokens: cached, computed_tokens: computed } = row;
  const done = Math.min(prompt, computed);
  const share = (tokens: number) => ({ width: `${100 * tokens / Math.max(1, prompt)}%` });
  const found = Math.min(cached, done);
  const words = `Prompt ${count(prompt)} tokens: ${count(found)} cached, ` +
    `${count(done - found)} computed, ${count(prompt - done)} to do. ` +
    `Answer ${count(row.tokens - prompt)} tokens.` +
    (row.preemptions > 0 ? ` Preempted ${count(row.preemptions)} times.` : "");
  return html`
    <div class="prompt-progress">
      <div class="prompt-bar" aria-hidden="true">
        <i class="bar-cached" style=${share(Math.min(cached, done))}></i>
        <i class="bar-computed" style=${share(Math.max(0, done - cached))}></i>
      </div>
      <p>${words}</p>
    </div>
  `;
}

function wordsOf(row: SequenceRow | undefined, timeline: Timeline | undefined): string {
  if (row === undefined) {
    const { marks } = timeline!;
    const tookMs = (marks.at(-1)?.timeMs ?? 0) - (marks[0]?.timeMs ?? 0);
    return `took ${duration(tookMs)}`;
  }
  if (row.state === "waiting") return timeline?.waits ?? "waits for its turn";
  const { prompt_tokens: prompt, computed_tokens: computed, tokens, cached_tokens: cached } = row;
  if (computed < prompt) {
    return `prefill ${count(computed)} of ${count(prompt)} tokens`;
  }
  const found = cached > 0 ? `, ${count(cached)} cached` : "";
  return `${count(tokens - prompt)} tokens out, ${count(prompt)} in${found}`;
}
