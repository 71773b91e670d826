import { formatByteSize } from "../base/byte_size.ts";
import type { FileProgress, ProgressState } from "./download_progress.ts";

/** Files with a bar of their own; of more, the first unfinished ones have one. */
const MAX_BARS = 8;
const MIN_BAR = 10;
const MAX_BAR = 40;
const LEAST_NAME = 12;
/** Columns of "999.9 KiB of 99.99 MiB", so that bars keep their length while amounts grow. */
const LEAST_AMOUNT = 22;
/** A longer wait is a rate that was measured too early. */
const LONGEST_LEFT_SECONDS = 100 * 3600;

/**
 * Bars for a terminal of `width` columns: a line for each file on its way, the total, and below it
 * the rate.
 */
export function progressBars(state: ProgressState, width: number): string[] {
  const { files, numFiles, total } = state;
  const shown = files.filter(({ size, done }) => done < size).slice(0, MAX_BARS);
  const rows = [
    ...shown.map((file) => ({ label: file.name, part: file })),
    { label: `Total of ${numFiles}`, part: total },
  ];
  const longestAmount = Math.max(LEAST_AMOUNT, ...rows.map(({ part }) => amountOf(part).length));
  const longestLabel = Math.max(...rows.map(({ label }) => label.length));
  // Two spaces, "[", "]", a space, "100 %" and two spaces.
  const room = width - 1 - longestAmount - 12;
  const nameWidth = Math.max(LEAST_NAME, Math.min(longestLabel, room - MIN_BAR));
  const barWidth = Math.max(0, Math.min(MAX_BAR, room - nameWidth));
  const bars = rows.map(({ label, part }) => {
    const percent = `${percentOf(part)} %`.padStart(5);
    const bar = barWidth < MIN_BAR ? "" : `[${barOf(part, barWidth)}] `;
    return `${fit(label, nameWidth)}  ${bar}${percent}  ${amountOf(part)}`;
  });
  const rate = rateOf(state);
  const lines = rate === "" ? bars : [...bars, rate];
  return lines.map((line) => line.slice(0, width - 1));
}

/** The same on one line, for a log: `34 % of 1.2 GiB, 45 MiB/s, 21 s left`. */
export function progressLine(state: ProgressState): string {
  const { total } = state;
  const amount = `${percentOf(total)} % of ${formatByteSize(total.size)}`;
  return [amount, rateOf(state)].filter((part) => part !== "").join(", ");
}

type Part = Pick<FileProgress, "size" | "done">;

/** A whole number that is 100 only when everything is there. */
function percentOf({ size, done }: Part): number {
  return size === 0 ? 100 : Math.floor(100 * done / size);
}

function amountOf({ size, done }: Part): string {
  return `${formatByteSize(done)} of ${formatByteSize(size)}`;
}

function rateOf({ rate, secondsLeft }: ProgressState): string {
  if (rate === undefined) return "";
  const isKnown = secondsLeft !== undefined && secondsLeft < LONGEST_LEFT_SECONDS;
  const left = !isKnown ? "" : `, ${durationOf(secondsLeft)} left`;
  return `${formatByteSize(Math.round(rate))}/s${left}`;
}

function durationOf(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

function barOf({ size, done }: Part, width: number): string {
  const numFilled = size === 0 ? width : Math.floor(width * done / size);
  return "#".repeat(numFilled) + "-".repeat(width - numFilled);
}

/** A name in exactly `width` columns; of a longer one its end, where parts differ. */
function fit(name: string, width: number): string {
  if (name.length <= width) return name.padEnd(width);
  return `...${name.slice(name.length - width + 3)}`;
}
