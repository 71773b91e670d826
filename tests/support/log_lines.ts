import { createLogger, type Logger } from "../../src/base/log.ts";

/** A logger with the lines it has written, parsed. */
export function logLines(): { readonly log: Logger; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => lines.push(JSON.parse(line));
  return { log: createLogger({ format: "json", level: "debug", write }), lines };
}
