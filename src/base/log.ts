/** How urgent a line is; a logger drops what lies below its level. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Values that stand beside a message; an `Error` is written with its stack. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes one line per event. Prompts and completions never belong in a message or field. */
export interface Logger {
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

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Makes a logger. Standard output stays free for results; lines go to standard error. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const { format = "text", level = "info", write = writeToStderr, now = () => new Date() } =
    options;
  const line = format === "json" ? jsonLine : textLine;
  function logAt(own: LogLevel): (message: string, fields?: LogFields) => void {
    if (LEVELS.indexOf(own) < LEVELS.indexOf(level)) return () => {};
    return (message, fields = {}) => write(line(now(), own, message, fields));
  }
  return {
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

function jsonLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  return JSON.stringify({ time: time.toISOString(), level, message, ...fields }, plainValue);
}

/** JSON has no errors, big integers or infinities; a log line must not fail on one. */
function plainValue(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.stack ?? String(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value;
}

function textLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${textValue(value)}`);
  return `${time.toISOString()} ${level.padEnd(5)} ${message}${pairs.join("")}`;
}

/** Bare where that is unambiguous, quoted otherwise, so that a value cannot forge a second line. */
function textValue(value: unknown): string {
  const plain = plainValue("", value);
  if (typeof plain === "string" && /^[\w./:@+-]+$/.test(plain)) return plain;
  return JSON.stringify(plain, plainValue) ?? String(plain);
}
