import { assertEquals, assertStringIncludes } from "@std/assert";
import { type CacheUse, cacheWords } from "../../src/window/page/cache_words.ts";

function wordsOf(use: Partial<CacheUse>): string {
  return cacheWords({ promptTokens: 100, cachedTokens: 0, decisions: [], ...use }).join(" ");
}

Deno.test("the words say why not more of a prompt was cached", () => {
  for (
    const [use, words] of [
      [{}, "No earlier prompt that is still kept began like this one"],
      [{ cachedTokens: 48 }, "Behind that it differs"],
      [{ cachedTokens: 96 }, "more was not possible"],
      [{ promptTokens: 16 }, "has none that could be shared"],
      [{ promptTokens: 17 }, "No earlier prompt"],
      // Of 65 tokens the last one was drawn and never read: four blocks.
      [{ cachedTokens: 64, earlierTokens: 65 }, "all of the earlier turns"],
      [{ cachedTokens: 48, earlierTokens: 65 }, "was evicted since, or reads differently"],
      [{ cachedTokens: 48, earlierTokens: 64 }, "all of the earlier turns"],
    ] as const
  ) assertStringIncludes(wordsOf(use), words, JSON.stringify(use));
});

Deno.test("the size of a block comes from what a hit found", () => {
  const hit = { type: "hit", num_blocks: 3, text: "" };
  const use = { promptTokens: 100, cachedTokens: 96, decisions: [hit] };
  assertStringIncludes(wordsOf(use), "whole blocks of 32 tokens");
  assertStringIncludes(wordsOf({ ...use, decisions: [] }), "whole blocks of 16 tokens");
});

Deno.test("a wait is told in the server's words, without the request's name", () => {
  const text = "step 7: chatcmpl-1[0] waits: 4 blocks needed, 1 free";
  const decisions = [{ type: "wait", request_id: "chatcmpl-1", text }];
  const [, , wait] = cacheWords({ promptTokens: 100, cachedTokens: 0, decisions });
  assertEquals(wait, "The request waits: 4 blocks needed, 1 free.");
});
