/** Levels of log lines, least urgent first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** How urgent a line is; a logger drops what lies below its level. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Values that stand beside a message; an `Error` is written with its stack. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes one line per event. Prompts and completions never belong in a message or field. */
export interface Logger {
  /** Whether debug lines are written, for what costs something to tell. */
  readonly isDebug: boolean;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** What a logger needs; the defaults are the ones of a server, tests pass their own. */
export interface LoggerOptions {
  /** `text` for people, `json` for programs: one object per line. */
  readonly format?: "text" | "json";
  /** Lowest level written. */
  readonly level?: LogLevel;
  /** Takes a finished line without its line end; standard error unless given. */
  readonly write?: (line: string) => void;
  readonly now?: () => Date;
}

/** Longest line in bytes of UTF-8, so that no request and no stack fills a disk or a terminal. */
const MAX_LINE_BYTES = 4096;
/** Texts of a line that is too long are cut to this many characters, then to half, and so on. */
const FIRST_TEXT_CHARS = 2048;
const LEAST_TEXT_CHARS = 32;

/** Makes a logger. Standard output stays free for results; lines go to standard error. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const { format = "text", level = "info", write = writeToStderr, now = () => new Date() } =
    options;
  const line = format === "json" ? jsonLine : textLine;
  function logAt(own: LogLevel): (message: string, fields?: LogFields) => void {
    if (LOG_LEVELS.indexOf(own) < LOG_LEVELS.indexOf(level)) return () => {};
    return (message, fields = {}) =>
      write(boundedLine(line, { time: now(), level: own, message, fields }));
  }
  return {
    isDebug: level === "debug",
    debug: logAt("debug"),
    info: logAt("info"),
    warn: logAt("warn"),
    error: logAt("error"),
  };
}

function writeToStderr(line: string): void {
  // deno-lint-ignore no-console -- the one place where lines leave the process
  console.error(line);
}

/** What a line says. */
interface Entry {
  readonly time: Date;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** Turns a field's value, or what is in it, into one that JSON has. */
type ToPlain = (key: string, value: unknown) => unknown;

/** The line of an entry; one that is too long has its texts cut, each saying by how much. */
function boundedLine(lineOf: (entry: Entry, toPlain: ToPlain) => string, entry: Entry): string {
  const whole = lineOf(entry, plainValue);
  let line = whole;
  for (let limit = FIRST_TEXT_CHARS; isTooLong(line) && limit >= LEAST_TEXT_CHARS; limit /= 2) {
    const toPlain: ToPlain = (key, value) => cut(plainValue(key, value), limit);
    line = lineOf({ ...entry, message: cut(entry.message, limit) }, toPlain);
  }
  if (!isTooLong(line)) return line;
  // Too many values, or too long names.
  const fields = { cut: `fields of a line of ${whole.length} characters` };
  return lineOf({ ...entry, message: cut(entry.message, LEAST_TEXT_CHARS), fields }, plainValue);
}

function isTooLong(line: string): boolean {
  // UTF-8 takes at most three bytes for a UTF-16 code unit.
  return 3 * line.length > MAX_LINE_BYTES && new TextEncoder().encode(line).length > MAX_LINE_BYTES;
}

function cut<T>(value: T, limit: number): T | string {
  if (typeof value !== "string" || value.length <= limit) return value;
  return `${value.slice(0, limit).toWellFormed()}... (${value.length - limit} characters cut)`;
}

function jsonLine({ time, level, message, fields }: Entry, toPlain: ToPlain): string {
  return JSON.stringify({ time: time.toISOString(), level, message, ...fields }, toPlain);
}

/** JSON has no errors, big integers or infinities; a log line must not fail on one. */
function plainValue(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.stack ?? String(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value;
}

function textLine({ time, level, message, fields }: Entry, toPlain: ToPlain): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${textValue(value, toPlain)}`);
  return `${time.toISOString()} ${level.padEnd(5)} ${message}${pairs.join("")}`;
}

/** Bare where that is unambiguous, quoted otherwise, so that a value cannot forge a second line. */
function textValue(value: unknown, toPlain: ToPlain): string {
  const plain = toPlain("", value);
  if (typeof plain === "string" && /^[\w./:@+-]+$/.test(plain)) return plain;
  return JSON.stringify(plain, toPlain) ?? String(plain);
}
