import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import {
  LENGTH_DISTRIBUTIONS,
  parseLengths,
  sampleLengths,
} from "../../src/plan/request_lengths.ts";

function refusal(text: string): string {
  return assertThrows(() => parseLengths(text, "lens.txt"), StartupError).message;
}

Deno.test("sampleLengths() has the means and deviations of its distribution", () => {
  for (const distribution of LENGTH_DISTRIBUTIONS) {
    const requests = sampleLengths(distribution, { numRequests: 200_000, seed: 1 });
    const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
    const prompts = requests.map(({ promptLen }) => promptLen);
    const outputs = requests.map(({ outputLen }) => outputLen);
    assertAlmostEquals(mean(prompts) / distribution.meanPromptLen, 1, 0.02);
    assertAlmostEquals(mean(outputs) / distribution.meanOutputLen, 1, 0.02);
    const median = outputs.toSorted((a, b) => a - b)[100_000]!;
    const expected = distribution.meanOutputLen * Math.exp(-(distribution.outputSigma ** 2) / 2);
    assertAlmostEquals(median / expected, 1, 0.02);
  }
});

Deno.test("sampleLengths() repeats for a seed and draws whole tokens, at least one each", () => {
  const [distribution] = LENGTH_DISTRIBUTIONS;
  const draw = (seed: number) => sampleLengths(distribution!, { numRequests: 1000, seed });
  assertEquals(draw(3), draw(3));
  assertEquals(JSON.stringify(draw(3)) === JSON.stringify(draw(4)), false);
  const short = { ...distribution!, meanPromptLen: 0.01, meanOutputLen: 1.5 };
  for (const { promptLen, outputLen } of sampleLengths(short, { numRequests: 1000, seed: 1 })) {
    assertEquals([promptLen, Number.isInteger(outputLen) && outputLen >= 1], [1, true]);
  }
});

Deno.test("parseLengths() reads pairs in three spellings, comments and empty lines aside", () => {
  const text = "# prompt output\n10 20\n\n30,40 # a chat\r\n50 ,  60\n7\t8";
  assertEquals(parseLengths(text, "lens.txt"), [
    { promptLen: 10, outputLen: 20 },
    { promptLen: 30, outputLen: 40 },
    { promptLen: 50, outputLen: 60 },
    { promptLen: 7, outputLen: 8 },
  ]);
});

Deno.test("parseLengths() refuses a bad line by its number and text", () => {
  for (const line of ["10", "10 0", "1.5 2", "-1 2", "1 2 3", "a b", "1 99999999"]) {
    assertEquals(
      refusal(`1 1\n${line}\n`),
      `lens.txt: line 2 is ${JSON.stringify(line)}: must be two integers from 1 to 16777216, ` +
        "tokens of the prompt and of the output",
    );
  }
  assertEquals(refusal("# nothing\n"), "lens.txt has no request");
  assertEquals(refusal("1 1\n".repeat(1_000_001)), "lens.txt has more than 1000000 requests");
});
