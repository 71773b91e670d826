import { assertStringIncludes } from "@std/assert";
import { Registry } from "prom-client";
import { watchReheat } from "../../../src/http/metrics/reheat_metrics.ts";

Deno.test("watchReheat() reports prefixes and tokens, as they are at each scrape", async () => {
  const registry = new Registry();
  let progress = { numPrefixesDone: 0, numPrefixesLeft: 3, numTokensDone: 0, numTokensLeft: 48 };
  watchReheat(registry, () => progress);
  assertStringIncludes(await registry.metrics(), 'quire:reheat_prefixes{state="left"} 3');
  progress = { numPrefixesDone: 2, numPrefixesLeft: 1, numTokensDone: 32, numTokensLeft: 16 };
  const text = await registry.metrics();
  for (
    const line of [
      'quire:reheat_prefixes{state="done"} 2',
      'quire:reheat_prefixes{state="left"} 1',
      'quire:reheat_tokens{state="done"} 32',
      'quire:reheat_tokens{state="left"} 16',
    ]
  ) assertStringIncludes(text, line);
});
