/** Most white space between two parts of JSON: an indentation, and never an endless line. */
const MAX_WHITESPACE = 16;

/** A character that JSON writes as it is. The library's ranges are of bytes below 0x100. */
const PLAIN = [
  `[ !#-\\[\\]-~]`,
  ...utf8([0xc2, 0xdf], [0x80, 0xbf]),
  ...utf8([0xe0, 0xe0], [0xa0, 0xbf], [0x80, 0xbf]),
  ...utf8([0xe1, 0xec], [0x80, 0xbf], [0x80, 0xbf]),
  ...utf8([0xed, 0xed], [0x80, 0x9f], [0x80, 0xbf]),
  ...utf8([0xee, 0xef], [0x80, 0xbf], [0x80, 0xbf]),
  ...utf8([0xf0, 0xf0], [0x90, 0xbf], [0x80, 0xbf], [0x80, 0xbf]),
  ...utf8([0xf1, 0xf3], [0x80, 0xbf], [0x80, 0xbf], [0x80, 0xbf]),
  ...utf8([0xf4, 0xf4], [0x80, 0x8f], [0x80, 0xbf], [0x80, 0xbf]),
];
const ESCAPE = `"\\\\" ["\\\\/bfnrt]`;
/** No half of a surrogate pair, which alone is no character. */
const CODE_POINT = `"\\\\u" ([0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2})`;
/** Also lets through what is nearly UTF-8, but many of them cost no more than a few. */
const QUICK_CHARACTER = `[^"\\\\\\x00-\\x1f]`;
/** Most characters that are written exactly, where their number is limited. */
const MAX_EXACT_LENGTH = 32;

/** What every schema may use; a token is matched fast within one rule that goes on in itself. */
export const SHARED_RULES: readonly (readonly [string, string])[] = [
  ["ws", `[ \\n\\t]{0,${MAX_WHITESPACE}}`],
  ["string", `"\\"" chars`],
  ["chars", [`"\\""`, ...[...PLAIN, ESCAPE, CODE_POINT].map((one) => `${one} chars`)].join(" | ")],
  ["value", `object | array | string | number | "true" | "false" | "null"`],
  ["object", `"{" ws (member (ws "," ws member)* ws)? "}"`],
  ["member", `string ws ":" ws value`],
  ["array", `"[" ws (value (ws "," ws value)* ws)? "]"`],
];

/** Bytes of a character, each within a range. */
function utf8(...ranges: readonly (readonly [number, number])[]): string[] {
  return [ranges.map(byteClass).join(" ")];
}

/** One byte twice: a class of one would be read as a character. */
function byteClass([from, to]: readonly [number, number]): string {
  return `[\\x${from.toString(16)}${from === to ? "" : "-"}\\x${to.toString(16)}]`;
}

/** Formats that hold; the others are annotations, as the standard has them. */
export const STRING_FORMATS: Readonly<Record<string, string>> = {
  date: dateDigits(),
  time: timeDigits(),
  "date-time": `${dateDigits()}T${timeDigits()}`,
  uuid: "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
  ipv4: new Array(4).fill("(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])").join("\\."),
  email: "[a-zA-Z0-9_+\\-]+(\\.[a-zA-Z0-9_+\\-]+)*@[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*" +
    "(\\.[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*)+",
  hostname: "[a-zA-Z0-9]{1,30}(-[a-zA-Z0-9]{1,20})?(\\.[a-zA-Z0-9]{1,30}(-[a-zA-Z0-9]{1,20})?)*",
  uri: "https?://[a-zA-Z0-9\\-]+(\\.[a-zA-Z0-9\\-]+)*(/[a-zA-Z0-9_~.\\-]*)*",
};

function dateDigits(): string {
  return "[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|" +
    "(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";
}

function timeDigits(): string {
  return "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+\\-]([01][0-9]|2[0-3]):[0-5][0-9])";
}

/** Characters of a string, a limited number of them. */
export function characters(min: number, max: number): string {
  const isExact = max <= MAX_EXACT_LENGTH;
  const one = isExact ? `(${[...PLAIN, ESCAPE].join(" | ")})` : QUICK_CHARACTER;
  return max === 0 ? "" : `${one}${times(min, max)}`;
}

/** How often something comes, as EBNF says it. */
export function times(min: number, max: number): string {
  if (max === Infinity) return min === 0 ? "*" : `{${min},}`;
  return `{${min},${Math.floor(max)}}`;
}
