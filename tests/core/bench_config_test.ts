import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { benchHelp, parseBenchConfig } from "../../src/core/bench_config.ts";
import { StartupError } from "../../src/core/errors.ts";

function refusal(...args: string[]): string {
  return assertThrows(() => parseBenchConfig(args, {}), StartupError).message;
}

Deno.test("parseBenchConfig() takes the server as an argument, and vLLM's spellings", () => {
  const config = parseBenchConfig([
    "h:1",
    "--request-rate",
    "2.5",
    "--random-input-len=9",
    "--goodput",
    "ttft:500,tpot:50.5",
    "--metric-percentiles",
    "50,99.9",
  ], {})!;
  const { url, rate, inputLen, goodput, percentiles, workload } = config;
  assertEquals([url, rate, inputLen, workload], ["h:1", "2.5", 9, "random"]);
  assertEquals([goodput, percentiles], [["ttft:500", "tpot:50.5"], ["50", "99.9"]]);
  assertEquals(parseBenchConfig(["-h"], {}), undefined);
});

Deno.test("parseBenchConfig() refuses what it cannot measure", () => {
  assertStringIncludes(refusal(), "quire bench needs a server");
  assertStringIncludes(refusal("a", "b"), 'Unexpected argument "b"');
  assertStringIncludes(refusal("a", "--rate", "0"), "--rate must be a number above 0, got");
  assertStringIncludes(
    refusal("a", "--goodput", "itl:5"),
    "ttft:MS, tpot:MS and e2el:MS, separated",
  );
  assertStringIncludes(refusal("a", "--percentiles", "101"), "numbers from 0 to 100, separated");
  assertStringIncludes(refusal("a", "--workload", "chat"), "one of random, prefix, turns");
});

Deno.test("benchHelp() has examples, and the other spelling beside a flag", () => {
  assertStringIncludes(benchHelp(), "quire bench localhost:8000 --workload turns");
  assertStringIncludes(benchHelp(), "also --request-rate");
});
