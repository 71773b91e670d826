/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { type Colours, useColours } from "./colours.ts";
import { clockTime } from "./format.ts";

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
