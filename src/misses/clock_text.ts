const MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|January|February|March|" +
  "April|June|July|August|September|October|November|December)";
const WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Monday|Tuesday|Wednesday|Thursday|Friday|" +
  "Saturday|Sunday)";
const TIME = String.raw`\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[AaPp]\.?[Mm]\.?)?`;
const ZONE = String.raw`(?:\s?(?:Z|UTC|GMT)?(?:[+-]\d{2}:?\d{2})?)`;
const DAY = String.raw`\d{1,2}(?:st|nd|rd|th)?`;

/** Dates, times and Unix times, as programs write them. */
const CLOCK = new RegExp(
  [
    String.raw`\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ]${TIME}${ZONE})?`,
    String.raw`\b\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b`,
    String.raw`\b(?:${WEEKDAY},?\s+)?${DAY}\s+${MONTH}\b\.?(?:,?\s+\d{4})?`,
    String.raw`\b(?:${WEEKDAY},?\s+)?${MONTH}\b\.?(?:\s+${DAY}\b)?(?:,?\s+\d{4})?`,
    String.raw`\b${WEEKDAY}\b`,
    String.raw`\b${TIME}${ZONE}`,
    String.raw`\b1\d{9}(?:\d{3})?(?:\.\d+)?\b`,
  ].join("|"),
  "g",
);

/** Characters before and behind the difference that are searched for a date or a time. */
const REACH = 64;

/**
 * Whether two texts first differ within a date or a time that both have at the same place. O(the
 * common prefix); dates are searched near the difference only.
 */
export function differByClock(old: string, now: string): boolean {
  const at = firstDifference(old, now);
  if (at === Math.min(old.length, now.length) && old.length === now.length) return false;
  const from = Math.max(0, at - REACH);
  const before = clockAround(old.slice(from, at + REACH), at - from);
  const after = clockAround(now.slice(from, at + REACH), at - from);
  return before !== undefined && before === after;
}

/** The first index at which two texts differ; the shorter's length where it begins the other. */
export function firstDifference(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  for (let at = 0; at < end; at++) {
    if (a.charCodeAt(at) !== b.charCodeAt(at)) return at;
  }
  return end;
}

/** Where the date or time that `at` lies in, or at the end of, begins. */
function clockAround(text: string, at: number): number | undefined {
  for (const { index, 0: { length } } of text.matchAll(CLOCK)) {
    if (index <= at && at <= index + length) return index;
  }
  return undefined;
}
