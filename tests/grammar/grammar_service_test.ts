import { assert, assertEquals, assertRejects } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import { grammarBytes } from "../../src/core/compiled_grammar.ts";
import type { GrammarFormat } from "../../src/core/grammar_format.ts";
import { GrammarService, type GrammarServiceOptions } from "../../src/grammar/grammar_service.ts";
import { GrammarMatchers } from "../../src/grammar/grammar_matchers.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { tokensOf } from "../support/grammar_sampler.ts";

const SLOW: GrammarFormat = { type: "regex", pattern: "(([a-z]{1,200}[0-9]{1,200}){1,200}x)*" };

function text(value: string): GrammarFormat {
  return { type: "const_string", value };
}

function withService(
  name: string,
  options: GrammarServiceOptions,
  run: (service: GrammarService) => Promise<void>,
): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const service = new GrammarService(DEMO_DIR, options);
      try {
        await run(service);
      } finally {
        service.close();
      }
    },
  });
}

withService(
  "GrammarService compiles for the model's own vocabulary, and each format once",
  {},
  async (service) => {
    const [one, two] = await Promise.all([
      service.compile(text("story"), "a"),
      service.compile(text("story"), "b"),
    ]);
    assert(one === two && one === await service.compile(text("story"), "c"));
    const matcher = new GrammarMatchers().create(one);
    assert(tokensOf(matcher.allowedTokens).length > 1, "s, st, sto and so on");
    matcher.close();
  },
);

withService(
  "a refusal names the field, and is kept as well",
  { deadlineMs: 100 },
  async (service) => {
    const { data } = await assertRejects(() => service.compile(SLOW, "a.b"), RequestError);
    assertEquals(data, {
      ...{ status: 400, type: "invalid_request_error", code: "grammar_too_large", param: "a.b" },
      message: "a.b cannot be enforced: compiling it takes more than 0.1 s",
    });
    const before = performance.now();
    await assertRejects(() => service.compile(SLOW, "c"), RequestError, "c cannot be enforced");
    assert(performance.now() - before < 100, "it was tried again");
  },
);

withService(
  "a slow grammar does not hold up the next one",
  { deadlineMs: 2000 },
  async (service) => {
    // Both Workers are ready, so that only the slow grammar takes time.
    await Promise.all(["first", "other"].map((one) => service.compile(text(one), "a")));
    const order: string[] = [];
    const slow = service.compile(SLOW, "a").catch(() => order.push("slow"));
    await service.compile(text("second"), "a");
    order.push("second");
    await slow;
    assertEquals(order, ["second", "slow"]);
  },
);

withService(
  "the grammars used longest ago are forgotten first",
  { maxCached: 2 },
  async (service) => {
    const [a, b] = [await service.compile(text("a"), "p"), await service.compile(text("b"), "p")];
    assert(a === await service.compile(text("a"), "p"));
    await service.compile(text("c"), "p");
    assert(a === await service.compile(text("a"), "p"));
    assert(b !== await service.compile(text("b"), "p"));
  },
);

withService(
  "a grammar that is forgotten while it is compiled takes no room of the others",
  { maxCached: 1, maxCachedBytes: 2 ** 20 },
  async (service) => {
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const [first] = await Promise.all(names.map((name) => service.compile(text(name), "p")));
    const numBytes = grammarBytes(first!);
    assert(names.length * numBytes > 2 ** 20 && numBytes < 2 ** 20, `${numBytes} bytes`);
    const last = await service.compile(text("z"), "p");
    assert(last === await service.compile(text("z"), "p"));
  },
);

withService("a service that is closed says so", {}, async (service) => {
  service.close();
  await assertRejects(() => service.compile(text("a"), "p"), EngineUnavailableError);
});
