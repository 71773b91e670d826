/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../api.ts";
import { Chart } from "./chart.ts";
import type { Machine } from "./feed.ts";
import { count, duration, percent } from "./format.ts";
import type { Moment } from "./frames.ts";

/** The server over time, its steps, and what more memory would find. */
export function Charts({ machine, api }: { machine: Machine; api: Api }) {
  const moments = withGaps(machine.moments);
  const times = moments.map(({ time_ms }) => time_ms / 1000);
  return html`
    <section class="card charts-card" aria-labelledby="charts-title">
      <header class="card-head">
        <h2 id="charts-title">Pace</h2>
      </header>
      <div class="charts">
        <${Rates} moments=${moments} times=${times} />
        <${Latency} title="Time to first token" moments=${moments} times=${times} of="ttft" />
        <${Latency} title="Between tokens" moments=${moments} times=${times} of="inter_token" />
        <${Pool} moments=${moments} times=${times} />
        <${Steps} machine=${machine} />
        <${Curve} machine=${machine} api=${api} />
      </div>
    </section>
  `;
}

/** A moment, or the middle of a time in which nobody watched and nothing is known. */
type Point = Moment | { readonly [Name in keyof Moment]: Name extends "time_ms" ? number : null };

/** Two moments that are further apart have a gap between them. */
const GAP_MS = 10_000;

/** The moments with a point of unknown values in each gap. */
function withGaps(moments: readonly Moment[]): Point[] {
  return moments.flatMap((moment, i) => {
    const before = moments[i - 1];
    if (before === undefined || moment.time_ms - before.time_ms < GAP_MS) return [moment];
    const unknown = Object.fromEntries(Object.keys(moment).map((name) => [name, null]));
    return [{ ...unknown, time_ms: before.time_ms + 1 } as Point, moment];
  });
}

/** The values of a chart's line; where nothing was measured between two gaps, the one before. */
function lineOf(
  points: readonly Point[],
  pick: (point: Point) => number | null,
): (number | null)[] {
  let last: number | null = null;
  return points.map((point) => {
    if (point.running === null) last = null;
    else last = pick(point) ?? last;
    return last;
  });
}

/** What a chart over the moments gets. */
interface MomentProps {
  readonly moments: readonly Point[];
  /** Seconds of Unix time. */
  readonly times: readonly number[];
}

function Rates({ moments, times }: MomentProps) {
  const last = moments.at(-1);
  return html`
    <${Chart}
      title="Tokens per second"
      note=${last === undefined ? "–" : `${count(last.generated_per_s ?? 0)} generated`}
      lines=${[
        { label: "generated", colour: 0, isFilled: true },
        { label: "prompt computed", colour: 1 },
        { label: "prompt cached", colour: 2, isDashed: true },
      ]}
      data=${[
        times,
        lineOf(moments, (moment) => moment.generated_per_s),
        lineOf(moments, (moment) => moment.prompt_per_s),
        lineOf(moments, (moment) => moment.cached_per_s),
      ]}
      format=${count}
    />
  `;
}

function Latency(
  { title, moments, times, of }: MomentProps & {
    readonly title: string;
    readonly of: "ttft" | "inter_token";
  },
) {
  const [median, slow] = [`${of}_p50_ms`, `${of}_p95_ms`] as const;
  return html`
    <${Chart}
      title=${title}
      note=${`median ${duration(latest(moments, (moment) => moment[median]))}`}
      lines=${[
        { label: "median", colour: 0 },
        { label: "95th percentile", colour: 3, isDashed: true },
      ]}
      data=${[
        times,
        lineOf(moments, (moment) => moment[median]),
        lineOf(moments, (moment) => moment[slow]),
      ]}
      format=${duration}
    />
  `;
}

function Pool({ moments, times }: MomentProps) {
  const last = moments.at(-1);
  return html`
    <${Chart}
      title="Pool"
      note=${last === undefined ? "–" : `${percent(last.in_use)} in use`}
      lines=${[
        { label: "in use and cached", colour: 2 },
        { label: "in use", colour: 0, isFilled: true },
      ]}
      data=${[
        times,
        lineOf(moments, ({ in_use, cached }) => in_use === null ? null : in_use + cached!),
        lineOf(moments, (moment) => moment.in_use),
      ]}
      format=${percent}
      maxY=${1}
    />
  `;
}

/** Where the time of each step goes: areas on top of each other. */
function Steps({ machine }: { machine: Machine }) {
  const { steps } = machine;
  const mean = (at: 2 | 3 | 4) =>
    steps.reduce((sum, step) => sum + step[at], 0) / Math.max(1, steps.length);
  const note = steps.length === 0
    ? "–"
    : `schedule ${duration(mean(2))}, host ${duration(mean(3))}, device ${duration(mean(4))}`;
  return html`
    <${Chart}
      title="Steps"
      note=${note}
      lines=${[
        { label: "device", colour: 0, isFilled: true },
        { label: "host", colour: 1, isFilled: true },
        { label: "schedule", colour: 3, isFilled: true },
      ]}
      data=${[
        steps.map(([step]) => step),
        steps.map(([, , schedule, host, device]) => schedule + host + device),
        steps.map(([, , schedule, host]) => schedule + host),
        steps.map(([, , schedule]) => schedule),
      ]}
      format=${duration}
      formatX=${(step: number) => `step ${step}`}
      isTime=${false}
    />
  `;
}

const CURVE_MS = 20_000;

/** The hit rate that other sizes of memory would have, and the one of now. */
function Curve({ machine, api }: { machine: Machine; api: Api }) {
  const [points, setPoints] = useState<
    readonly { memory: number | "infinite"; hit_rate: number }[]
  >(
    [],
  );
  const isLive = machine.status === "live";
  useEffect(() => {
    if (!isLive) return;
    const ask = () =>
      void api.fetchJson("admin/kv/curve").then((answer) => setPoints(answer.points)).catch(
        () => {},
      );
    ask();
    const timer = setInterval(ask, CURVE_MS);
    return () => clearInterval(timer);
  }, [api, isLive]);
  const sizes = points.flatMap(({ memory }) => typeof memory === "number" ? [memory] : []);
  const unlimited = points.find(({ memory }) => memory === "infinite")?.hit_rate;
  const { numQueriedTokens = 0, numHitTokens = 0 } = machine.stats;
  const now = numQueriedTokens === 0 ? undefined : numHitTokens / numQueriedTokens;
  return html`
    <${Chart}
      title="Hit rate by memory"
      note=${`now ${percent(now)}, unlimited ${percent(unlimited)}`}
      lines=${[{ label: "found with so much memory", colour: 0, isFilled: true }, {
        label: "with unlimited memory",
        colour: 3,
        isDashed: true,
      }]}
      data=${[
        sizes,
        points.filter(({ memory }) => memory !== "infinite").map(({ hit_rate }) => hit_rate),
        sizes.map(() => unlimited ?? null),
      ]}
      format=${percent}
      formatX=${(multiple: number) => `×${multiple}`}
      isTime=${false}
      maxY=${1}
    />
  `;
}

/** The last value that was measured. */
function latest(moments: readonly Point[], pick: (moment: Point) => number | null) {
  for (let i = moments.length - 1; i >= 0; i--) {
    const value = pick(moments[i]!);
    if (value !== null) return value;
  }
  return null;
}
