/** Bounds of a number; absent ones are those of what can be written without an exponent. */
export interface NumberBounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

/** Digits before the point, and after it: beyond them a double has no more to say. */
const MAX_INTEGER_DIGITS = 15;
const MAX_FRACTION_DIGITS = 15;
const LARGEST = 10 ** MAX_INTEGER_DIGITS - 1;

/** Numbers without bounds, in JSON's own notation. */
export const ANY_NUMBER = `-?${wholeDigits()}(\\.[0-9]{1,15})?([eE][+\\-]?[0-9]{1,2})?`;
export const ANY_INTEGER = `-?${wholeDigits()}`;

const FRACTION = `(\\.[0-9]{1,${MAX_FRACTION_DIGITS}})?`;

function wholeDigits(): string {
  return `(0|[1-9][0-9]{0,${MAX_INTEGER_DIGITS - 1}})`;
}

/** One end of a range of numbers that are not negative, in decimal notation. */
interface End {
  readonly whole: number;
  /** Digits after the point, without zeros at their end. */
  readonly fraction: string;
  readonly isExcluded: boolean;
}

/**
 * A regular expression of the numbers within the bounds, without exponents and with at most 15
 * digits on each side of the point; undefined where there are none, or a bound is not written so.
 */
export function numberPattern(
  type: "number" | "integer",
  bounds: NumberBounds,
): string | undefined {
  const low = lowest(bounds);
  const high = highest(bounds);
  if (type === "integer") return integerPattern(low, high);
  const parts: string[] = [];
  if (high === undefined || high.value >= 0) {
    const from = low !== undefined && low.value >= 0 ? endOf(low) : ZERO;
    parts.push(...range(from, high === undefined ? INFINITE : endOf(high)));
  }
  if (low === undefined || low.value < 0) {
    // The magnitudes of negative numbers; minus zero is not written.
    const from = high !== undefined && high.value < 0 ? endOf(high) : { ...ZERO, isExcluded: true };
    const negative = range(from, low === undefined ? INFINITE : endOf(low));
    if (negative.length > 0) parts.push(`-(${negative.join("|")})`);
  }
  return parts.length === 0 ? undefined : `(${parts.join("|")})`;
}

interface Bound {
  readonly value: number;
  readonly isExcluded: boolean;
}

const ZERO: End = { whole: 0, fraction: "", isExcluded: false };
const INFINITE: End = { whole: LARGEST + 1, fraction: "", isExcluded: true };

function lowest({ minimum, exclusiveMinimum }: NumberBounds): Bound | undefined {
  if (exclusiveMinimum === undefined || (minimum ?? -Infinity) > exclusiveMinimum) {
    return minimum === undefined ? undefined : { value: minimum, isExcluded: false };
  }
  return { value: exclusiveMinimum, isExcluded: true };
}

function highest({ maximum, exclusiveMaximum }: NumberBounds): Bound | undefined {
  if (exclusiveMaximum === undefined || (maximum ?? Infinity) < exclusiveMaximum) {
    return maximum === undefined ? undefined : { value: maximum, isExcluded: false };
  }
  return { value: exclusiveMaximum, isExcluded: true };
}

function integerPattern(low: Bound | undefined, high: Bound | undefined): string | undefined {
  const from = low === undefined ? -LARGEST : Math.max(-LARGEST, ceil(low));
  const to = high === undefined
    ? LARGEST
    : Math.min(LARGEST, -ceil({ ...high, value: -high.value }));
  const parts: string[] = [];
  if (to >= 0) parts.push(...wholeRange(Math.max(0, from), to));
  if (from < 0) {
    const negative = wholeRange(to < 0 ? -to : 1, -from);
    if (negative.length > 0) parts.push(`-(${negative.join("|")})`);
  }
  return parts.length === 0 ? undefined : `(${parts.join("|")})`;
}

/** The smallest integer that the lower bound allows. */
function ceil({ value, isExcluded }: Bound): number {
  const integer = Math.ceil(value);
  return isExcluded && integer === value ? integer + 1 : integer;
}

/** The magnitude of a bound. @throws {RangeError} for one that needs an exponent. */
function endOf({ value, isExcluded }: Bound): End {
  const text = String(Math.abs(value));
  if (!/^\d{1,15}(\.\d+)?$/.test(text)) {
    // Any number that can be written here is below this one.
    if (Math.abs(value) > LARGEST) return INFINITE;
    throw new RangeError(`the bound ${value}`);
  }
  const [whole, fraction = ""] = text.split(".");
  return { whole: Number(whole), fraction, isExcluded };
}

/** Alternatives for numbers from one end to the other. */
function range(from: End, to: End): string[] {
  if (from.whole > to.whole) return [];
  if (from.whole === to.whole) {
    return fractionsBetween(from, to).map((fraction) => `${from.whole}${fraction}`);
  }
  return [
    ...fractionsFrom(from).map((fraction) => `${from.whole}${fraction}`),
    ...wholeRange(from.whole + 1, to.whole - 1).map((whole) => `${whole}${FRACTION}`),
    ...fractionsTo(to).map((fraction) => `${to.whole}${fraction}`),
  ];
}

/** What may stand after the whole part of the lower end: at least its fraction. */
function fractionsFrom({ fraction, isExcluded }: End): string[] {
  if (fraction === "" && !isExcluded) return [FRACTION];
  return [
    `\\.${fraction}${isExcluded ? `0{0,3}[1-9]` : ""}[0-9]{0,${moreDigits(fraction.length)}}`,
    ...above(fraction),
  ];
}

/** What may stand after the whole part of the upper end: at most its fraction. */
function fractionsTo({ fraction, isExcluded }: End): string[] {
  if (fraction === "") return isExcluded ? [] : ["(\\.0)?"];
  const shorter = [...fraction].slice(1).map((_, i) => `\\.${fraction.slice(0, i + 1)}`);
  return ["", ...shorter, ...below(fraction), ...(isExcluded ? [] : [`\\.${fraction}`])];
}

function fractionsBetween(from: End, to: End): string[] {
  const [low, high] = [from.fraction, to.fraction];
  const length = Math.max(low.length, high.length);
  const [a, b] = [low.padEnd(length, "0"), high.padEnd(length, "0")];
  if (a > b) return [];
  if (a === b) {
    if (from.isExcluded || to.isExcluded) return [];
    return [low === "" ? "" : `\\.${low}`];
  }
  const shared = [...a].findIndex((digit, i) => digit !== b[i]);
  const head = a.slice(0, shared);
  const [first, last] = [Number(a[shared]), Number(b[shared])];
  const rest = `[0-9]{0,${moreDigits(shared + 1)}}`;
  const middle = last - first > 1 ? [`\\.${head}[${first + 1}-${last - 1}]${rest}`] : [];
  const inside = fractionsFrom({ ...from, fraction: a.slice(shared + 1) })
    .map((tail) => withHead(tail, `${head}${first}`));
  const upTo = fractionsTo({ ...to, fraction: trimZeros(b.slice(shared + 1)) })
    .map((tail) => withHead(tail, `${head}${last}`));
  const isWhole = low === "" && !from.isExcluded;
  return [...(isWhole ? [""] : []), ...inside, ...middle, ...upTo];
}

/** A fraction's text that goes on behind other digits. */
function withHead(fraction: string, head: string): string {
  if (fraction === FRACTION) return `\\.${head}[0-9]{0,${moreDigits(head.length)}}`;
  if (fraction === "(\\.0)?") return `\\.${head}`;
  return fraction === "" ? `\\.${head}` : `\\.${head}${fraction.slice(2)}`;
}

function trimZeros(digits: string): string {
  return digits.replace(/0+$/, "");
}

/** Fractions above one: the same up to a digit that is larger. */
function above(fraction: string): string[] {
  return [...fraction].flatMap((digit, i) =>
    digit === "9"
      ? []
      : [`\\.${fraction.slice(0, i)}[${Number(digit) + 1}-9][0-9]{0,${moreDigits(i + 1)}}`]
  );
}

function below(fraction: string): string[] {
  return [...fraction].flatMap((digit, i) =>
    digit === "0"
      ? []
      : [`\\.${fraction.slice(0, i)}[0-${Number(digit) - 1}][0-9]{0,${moreDigits(i + 1)}}`]
  );
}

function moreDigits(used: number): number {
  return Math.max(0, MAX_FRACTION_DIGITS - used);
}

/** Alternatives for the integers from one to another, neither negative. */
function wholeRange(from: number, to: number): string[] {
  if (from > to) return [];
  const [low, high] = [String(from), String(to)];
  if (low.length === high.length) return sameLength(low, high);
  const parts = sameLength(low, "9".repeat(low.length));
  const [shortest, longest] = [low.length + 1, high.length - 1];
  if (shortest <= longest) parts.push(`[1-9][0-9]{${shortest - 1},${longest - 1}}`);
  return [...parts, ...sameLength(`1${"0".repeat(high.length - 1)}`, high)];
}

/** Alternatives for texts of digits of one length, from one to another. */
function sameLength(low: string, high: string): string[] {
  if (low === high) return [low];
  const length = low.length;
  if (length === 1) return [`[${low}-${high}]`];
  const [first, last] = [Number(low[0]), Number(high[0])];
  const [lowTail, highTail] = [low.slice(1), high.slice(1)];
  if (first === last) return sameLength(lowTail, highTail).map((tail) => `${first}${tail}`);
  const isFromZero = /^0*$/.test(lowTail);
  const isToNine = /^9*$/.test(highTail);
  const begin = isFromZero ? first : first + 1;
  const end = isToNine ? last : last - 1;
  const nines = "9".repeat(length - 1);
  const zeros = "0".repeat(length - 1);
  return [
    ...(isFromZero ? [] : sameLength(lowTail, nines).map((tail) => `${first}${tail}`)),
    ...(begin <= end ? [`[${begin}-${end}][0-9]{${length - 1}}`] : []),
    ...(isToNine ? [] : sameLength(zeros, highTail).map((tail) => `${last}${tail}`)),
  ];
}
