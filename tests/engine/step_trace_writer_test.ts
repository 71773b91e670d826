import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { parseStepTraceRecord } from "../../src/engine/step_trace.ts";
import { StepTraceWriter } from "../../src/engine/step_trace_writer.ts";

function fail(error: unknown): never {
  throw error;
}

Deno.test("StepTraceWriter's clock stands still between ticks, and records carry its time", () => {
  const lines: string[] = [];
  let ms = 5;
  const stepTrace = new StepTraceWriter((line) => lines.push(line), { clock: { now: () => ms } });
  ms = 7;
  stepTrace.record({ type: "abort", requestId: "a" });
  assertEquals(stepTrace.now(), 5);
  stepTrace.tick();
  stepTrace.record({ type: "abort", requestId: "b", index: 1 });
  assertEquals([stepTrace.now(), lines.every((line) => line.endsWith("\n"))], [7, true]);
  assertEquals(lines.map((line) => parseStepTraceRecord(line)), [
    { type: "abort", ms: 5, requestId: "a" },
    { type: "abort", ms: 7, requestId: "b", index: 1 },
  ]);
});

Deno.test("StepTraceWriter.open() appends to a file, and names the flag where it cannot", () => {
  const path = Deno.makeTempFileSync();
  for (const requestId of ["a", "b"]) {
    StepTraceWriter.open(path, fail).record({ type: "abort", requestId });
  }
  const lines = Deno.readTextFileSync(path).trimEnd().split("\n").map(parseStepTraceRecord);
  assertEquals(lines.map((record) => record.type === "abort" && record.requestId), ["a", "b"]);
  Deno.removeSync(path);
  const missing = `${path}/none`;
  assertThrows(
    () => StepTraceWriter.open(missing, fail),
    StartupError,
    "--trace-steps: cannot write",
  );
});

Deno.test("StepTraceWriter.open() begins a new line where a crash has cut off the last one", () => {
  const path = Deno.makeTempFileSync();
  const append = (requestId: string) =>
    StepTraceWriter.open(path, fail).record({ type: "abort", requestId });
  append("a");
  const cut = '{"ms":1,"type":"ab';
  Deno.writeTextFileSync(path, cut, { append: true });
  append("b");
  append("c");
  const lines = Deno.readTextFileSync(path).split("\n");
  Deno.removeSync(path);
  const ids = lines.map((line) => line.match(/"requestId":"(.)"/)?.[1] ?? line);
  assertEquals(ids, ["a", cut, "b", "c", ""]);
});

Deno.test("StepTraceWriter ends with the first line that cannot be written, and says so once", () => {
  const lines: string[] = [];
  const failures: unknown[] = [];
  const write = (line: string) => {
    if (lines.length === 1) throw new Error("No space left on device");
    lines.push(line);
  };
  const stepTrace = new StepTraceWriter(write, { onFailure: (error) => failures.push(error) });
  for (const requestId of ["a", "b", "c"]) stepTrace.record({ type: "abort", requestId });
  assertEquals([lines.length, failures.map(String)], [1, ["Error: No space left on device"]]);
});
