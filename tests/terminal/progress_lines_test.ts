import { assertEquals } from "@std/assert";
import { ProgressLines } from "../../src/terminal/progress_lines.ts";

const WORDS = [
  "open device",
  "memory: weights 5 MiB",
  "load weights",
  "load weights: 40 %",
  "load weights: 90 %",
  "warm up",
];

function shown(isTerminal: boolean, words: readonly string[]): string {
  let text = "";
  const lines = new ProgressLines({ isTerminal, write: (more) => text += more });
  words.forEach((each) => lines.show(each));
  lines.end();
  lines.end();
  return text;
}

Deno.test("progress is a line per phase and step where there is no terminal", () => {
  assertEquals(shown(false, WORDS), WORDS.map((words) => `... ${words}\n`).join(""));
});

Deno.test("on a terminal how far a phase is changes in its place, with a bar, and goes with it", () => {
  const erase = "\r\x1b[2K";
  const bar = (numFull: number) => "█".repeat(numFull) + "░".repeat(20 - numFull);
  assertEquals(
    shown(true, WORDS),
    "... open device\n... memory: weights 5 MiB\n... load weights\n" +
      `${erase}... load weights: ${bar(8)} 40 %${erase}... load weights: ${bar(18)} 90 %` +
      `${erase}... warm up\n`,
  );
  assertEquals(
    shown(true, ["load weights", "load weights: 7 %"]),
    `... load weights\n${erase}... load weights: ${bar(1)} 7 %${erase}`,
  );
  assertEquals(
    shown(true, ["tune kernels", "tune kernels: 3 of 9 operations"]),
    `... tune kernels\n${erase}... tune kernels: 3 of 9 operations${erase}`,
  );
});
