import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
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

const HOSTILE: readonly [string, string, Record<string, unknown>][] = [
  ["a long value", "m", { path: "/x".repeat(20_000), status: 404 }],
  ["a long message", "m".repeat(30_000), { status: 404 }],
  [
    "many long values",
    "m",
    Object.fromEntries([..."abcdefgh"].map((k) => [k, "\u{1f98a}".repeat(900)])),
  ],
  ["quotes that grow", "m", { a: '"\\'.repeat(1500), b: "\u0001".repeat(1500) }],
  ["a deep value", "m", { list: Array(500).fill({ text: "t".repeat(100) }) }],
  ["a long name", "m", { ["n".repeat(9000)]: 1 }],
  ["a stack", "m", { error: Object.assign(new Error("e"), { stack: "at x\n".repeat(9000) }) }],
];

for (const [name, message, fields] of HOSTILE) {
  Deno.test(`createLogger() writes at most 4 KiB for ${name}, and says what is cut`, () => {
    for (const format of ["text", "json"] as const) {
      const { lines, logger } = collect({ format });
      logger.error(message, fields);
      assertEquals(lines.length, 1);
      const [line] = lines;
      assert(new TextEncoder().encode(line!).length <= 4096, `${line!.length} characters`);
      assertMatch(line!, /\.\.\. \(\d+ characters cut\)|fields of a line of \d+ characters/);
      if (format === "json") assertEquals(JSON.parse(line!).level, "error");
      if (fields.status !== undefined) assertMatch(line!, /status"?[:=]404/);
    }
  });
}

Deno.test("createLogger() cuts nothing of a line of 4 KiB, and counts what it cuts of a longer one", () => {
  const { lines, logger } = collect({ format: "json" });
  const overhead =
    '{"time":"2030-01-02T12:00:00.000Z","level":"info","message":"m","text":""}'.length;
  logger.info("m", { text: "x".repeat(4096 - overhead) });
  logger.info("m", { text: "x".repeat(4097 - overhead) });
  assertEquals(lines[0]!.length, 4096);
  const { text } = JSON.parse(lines[1]!);
  assertEquals(text, `${"x".repeat(2048)}... (${4097 - overhead - 2048} characters cut)`);
});

Deno.test("createLogger() writes an error with its stack", () => {
  for (const format of ["text", "json"] as const) {
    const { lines, logger } = collect({ format });
    logger.error("failed", { error: new TypeError("boom") });
    assertStringIncludes(lines[0]!, "TypeError: boom");
    assertStringIncludes(lines[0]!, "log_test.ts");
  }
});
