/** A count for people: 950, 12.4k, 3.1M. */
export function count(value: number): string {
  if (Math.abs(value) < 10_000) return value.toLocaleString("en");
  const [size, unit] = Math.abs(value) < 1e6 ? [1e3, "k"] : [1e6, "M"];
  return `${(value / size).toFixed(value / size < 100 ? 1 : 0)}${unit}`;
}

/** A share of 1 in percent; a dash where there is none. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  return `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;
}

/** A time in ms for people; a dash where there is none. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0 ms";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round(ms / 1000) % 60} s`;
}

/** The time of day of a Unix time in ms. */
export function clockTime(ms: number | undefined): string {
  if (ms === undefined || ms === 0) return "";
  return new Date(ms).toLocaleTimeString("en-GB");
}

/** A request's id, short enough for a row. */
export function shortId(id: string, index: number): string {
  const name = id.length > 18 ? `${id.slice(0, 9)}…${id.slice(-6)}` : id;
  return index === 0 ? name : `${name}[${index}]`;
}
