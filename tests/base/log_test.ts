import { assertEquals, assertStringIncludes } from "@std/assert";
import { createLogger, type LoggerOptions } from "../../src/base/log.ts";

const NOON = new Date("2030-01-02T12:00:00.000Z");

function collect(options: LoggerOptions) {
  const lines: string[] = [];
  const logger = createLogger({ write: (line) => lines.push(line), now: () => NOON, ...options });
  return { lines, logger };
}

Deno.test("createLogger() writes text lines with fields and drops what lies below its level", () => {
  const { lines, logger } = collect({ format: "text", level: "info" });
  logger.debug("unseen");
  logger.info("request", { path: "/health", status: 200, note: "two words", absent: undefined });
  assertEquals(lines, [
    '2030-01-02T12:00:00.000Z info  request path=/health status=200 note="two words"',
  ]);
});

Deno.test("createLogger() writes one JSON object per line", () => {
  const { lines, logger } = collect({ format: "json", level: "debug" });
  logger.warn("slow", { ms: 12.5, big: 3n, rate: Infinity });
  assertEquals(JSON.parse(lines[0]!), {
    time: "2030-01-02T12:00:00.000Z",
    level: "warn",
    message: "slow",
    ms: 12.5,
    big: "3",
    rate: "Infinity",
  });
});

Deno.test("createLogger() keeps a hostile value on its line", () => {
  for (const format of ["text", "json"] as const) {
    const { lines, logger } = collect({ format });
    logger.info("request", { path: "/x\n2030-01-02 error forged" });
    assertEquals(lines.length, 1);
    assertEquals(lines[0]!.includes("\n"), false);
  }
});

Deno.test("createLogger() writes an error with its stack", () => {
  for (const format of ["text", "json"] as const) {
    const { lines, logger } = collect({ format });
    logger.error("failed", { error: new TypeError("boom") });
    assertStringIncludes(lines[0]!, "TypeError: boom");
    assertStringIncludes(lines[0]!, "log_test.ts");
  }
});
