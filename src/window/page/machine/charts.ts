/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { Api } from "../api.ts";
import { type Colours, useColours } from "./colours.ts";
import type { Machine } from "./feed.ts";
import type { Moment } from "./frames.ts";
import { clockTime, count, duration, percent } from "./format.ts";

/** One line of a chart. */
export interface Line {
  readonly label: string;
  /** Index into the series colours of the theme. */
  readonly colour: number;
  readonly isFilled?: boolean;
  readonly isDashed?: boolean;
}

/** A chart over time, or over whatever `x` is. */
export interface ChartProps {
  readonly title: string;
  /** What stands at the right of the title: the latest figures. */
  readonly note: string;
  readonly lines: readonly Line[];
  /** `x`, then the values of each line. */
  readonly data: readonly (readonly (number | null)[])[];
  readonly format: (value: number) => string;
  readonly formatX?: (value: number) => string;
  readonly isTime?: boolean;
  readonly maxY?: number;
}

const HEIGHT = 132;

/** A small chart: its place has a fixed height, and its figures are words as well. */
export function Chart(props: ChartProps) {
  const { title, note, lines } = props;
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const colours = useColours();
  useEffect(() => {
    const element = place.current!;
    const made = new uPlot(
      optionsOf(props, colours, element.clientWidth),
      alignedOf(props),
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [colours]);
  useEffect(() => plot.current?.setData(alignedOf(props)), [props.data]);
  return html`
    <figure class="chart" aria-label=${`${title}: ${note}`} role="img">
      <figcaption>
        <span class="chart-title">${title}</span>
        <span class="chart-note">${note}</span>
      </figcaption>
      <div class="plot" ref=${place} aria-hidden="true"></div>
      <p class="chart-key" aria-hidden="true">
        ${lines.map(({ label, colour }) =>
          html`<span><i class="series-${colour + 1}"></i>${label}</span>`
        )}
      </p>
    </figure>
  `;
}

function alignedOf({ data }: ChartProps): uPlot.AlignedData {
  return data as unknown as uPlot.AlignedData;
}

function optionsOf(props: ChartProps, colours: Colours, width: number): uPlot.Options {
  const { lines, format, formatX, isTime = true, maxY } = props;
  const font = "11px ui-sans-serif, system-ui, sans-serif";
  const axis = { stroke: colours.ink2, font, ticks: { show: false } };
  const x: uPlot.Axis = { ...axis, grid: { show: false }, size: 22, space: 70 };
  const nameX = formatX ?? ((at: number) => clockTime(1000 * at));
  x.values = (_, splits) => splits.map(nameX);
  return {
    width: Math.max(100, width),
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    plugins: [tipPlugin(props)],
    scales: {
      x: { time: isTime },
      y: { range: (_, __, max) => [0, maxY ?? (max > 0 ? 1.1 * max : 1)] },
    },
    axes: [x, {
      ...axis,
      grid: { stroke: colours.line, width: 1 },
      size: 52,
      space: 34,
      values: (_, splits) => splits.map(format),
    }],
    series: [
      {},
      ...lines.map((line): uPlot.Series => ({
        label: line.label,
        stroke: colours.series[line.colour]!,
        width: 1.5,
        points: { show: false },
        spanGaps: true,
        ...(line.isFilled ? { fill: `${colours.series[line.colour]!}33` } : {}),
        ...(line.isDashed ? { dash: [4, 3] } : {}),
      })),
    ],
  };
}

/** The values under the pointer, in words. */
function tipPlugin({ lines, format, formatX }: ChartProps): uPlot.Plugin {
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.hidden = true;
  return {
    hooks: {
      init: (plot) => void plot.over.append(tip),
      setCursor: (plot) => {
        const { idx, left = -1 } = plot.cursor;
        tip.hidden = idx === null || idx === undefined || left < 0;
        if (tip.hidden) return;
        const at = plot.data[0]![idx!]!;
        const head = formatX?.(at) ?? clockTime(1000 * at);
        const values = lines.map(({ label }, i) => {
          const value = plot.data[i + 1]![idx!];
          return value === null || value === undefined ? "" : `${label} ${format(value)}`;
        });
        tip.textContent = [head, ...values.filter((text) => text !== "")].join("  ·  ");
        tip.classList.toggle("at-left", left > plot.over.clientWidth / 2);
      },
    },
  };
}

/** The server over time, its steps, and what more memory would find. */
export function Charts({ machine, api }: { machine: Machine; api: Api }) {
  const { moments } = machine;
  const last = moments.at(-1);
  const times = moments.map(({ time_ms }) => time_ms / 1000);
  const column = (pick: (moment: Moment) => number | null) => moments.map(pick);
  return html`
    <section class="card charts-card" aria-labelledby="charts-title">
      <header class="card-head">
        <h2 id="charts-title">Pace</h2>
      </header>
      <div class="charts">
        <${Chart}
          title="Tokens per second"
          note=${last === undefined ? "–" : `${count(last.generated_per_s)} generated`}
          lines=${[
            { label: "generated", colour: 0, isFilled: true },
            { label: "prompt computed", colour: 1 },
            { label: "prompt cached", colour: 2, isDashed: true },
          ]}
          data=${[
            times,
            column((m) => m.generated_per_s),
            column((m) => m.prompt_per_s),
            column((m) => m.cached_per_s),
          ]}
          format=${count}
        />
        <${Chart}
          title="Time to first token"
          note=${`median ${duration(latest(moments, (m) => m.ttft_p50_ms))}`}
          lines=${[{ label: "median", colour: 0 }, {
            label: "95th percentile",
            colour: 3,
            isDashed: true,
          }]}
          data=${[times, column((m) => m.ttft_p50_ms), column((m) => m.ttft_p95_ms)]}
          format=${duration}
        />
        <${Chart}
          title="Between tokens"
          note=${`median ${duration(latest(moments, (m) => m.inter_token_p50_ms))}`}
          lines=${[{ label: "median", colour: 0 }, {
            label: "95th percentile",
            colour: 3,
            isDashed: true,
          }]}
          data=${[times, column((m) => m.inter_token_p50_ms), column((m) => m.inter_token_p95_ms)]}
          format=${duration}
        />
        <${Chart}
          title="Pool"
          note=${last === undefined ? "–" : `${percent(last.in_use)} in use`}
          lines=${[{ label: "in use and cached", colour: 2 }, {
            label: "in use",
            colour: 0,
            isFilled: true,
          }]}
          data=${[times, column((m) => m.in_use + m.cached), column((m) => m.in_use)]}
          format=${percent}
          maxY=${1}
        />
        <${Steps} machine=${machine} />
        <${Curve} machine=${machine} api=${api} />
      </div>
    </section>
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
function latest(moments: readonly Moment[], pick: (moment: Moment) => number | null) {
  for (let i = moments.length - 1; i >= 0; i--) {
    const value = pick(moments[i]!);
    if (value !== null) return value;
  }
  return null;
}
