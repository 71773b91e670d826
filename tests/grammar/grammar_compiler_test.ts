import { assert, assertEquals, assertRejects } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import { grammarBytes } from "../../src/core/compiled_grammar.ts";
import type { GrammarFormat } from "../../src/core/grammar_format.ts";
import {
  GrammarCompiler,
  type GrammarCompilerOptions,
} from "../../src/grammar/grammar_compiler.ts";
import { GrammarMatchers } from "../../src/grammar/grammar_matchers.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { tokensOf } from "../support/grammar_sampler.ts";

const SLOW: GrammarFormat = { type: "regex", pattern: "(([a-z]{1,200}[0-9]{1,200}){1,200}x)*" };

function text(value: string): GrammarFormat {
  return { type: "const_string", value };
}

function withCompiler(
  name: string,
  options: GrammarCompilerOptions,
  run: (compiler: GrammarCompiler) => Promise<void>,
): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const compiler = new GrammarCompiler(DEMO_DIR, options);
      try {
        await run(compiler);
      } finally {
        compiler.close();
      }
    },
  });
}

withCompiler(
  "GrammarCompiler compiles for the model's own vocabulary, and each format once",
  {},
  async (compiler) => {
    const [one, two] = await Promise.all([
      compiler.compile(text("story"), "a"),
      compiler.compile(text("story"), "b"),
    ]);
    assert(one === two && one === await compiler.compile(text("story"), "c"));
    const matcher = new GrammarMatchers().create(one);
    assert(tokensOf(matcher.allowedTokens).length > 1, "s, st, sto and so on");
    matcher.close();
  },
);

withCompiler(
  "a refusal names the field, and is kept as well",
  { deadlineMs: 100 },
  async (compiler) => {
    const { data } = await assertRejects(() => compiler.compile(SLOW, "a.b"), RequestError);
    assertEquals(data, {
      ...{ status: 400, type: "invalid_request_error", code: "grammar_too_large", param: "a.b" },
      message: "a.b cannot be enforced: compiling it takes more than 0.1 s",
    });
    const before = performance.now();
    await assertRejects(() => compiler.compile(SLOW, "c"), RequestError, "c cannot be enforced");
    assert(performance.now() - before < 100, "it was tried again");
  },
);

withCompiler(
  "a slow grammar does not hold up the next one",
  { deadlineMs: 2000 },
  async (compiler) => {
    // Both Workers are ready, so that only the slow grammar takes time.
    await Promise.all(["first", "other"].map((one) => compiler.compile(text(one), "a")));
    const order: string[] = [];
    const slow = compiler.compile(SLOW, "a").catch(() => order.push("slow"));
    await compiler.compile(text("second"), "a");
    order.push("second");
    await slow;
    assertEquals(order, ["second", "slow"]);
  },
);

withCompiler(
  "the grammars used longest ago are forgotten first",
  { maxCached: 2 },
  async (compiler) => {
    const [a, b] = [await compiler.compile(text("a"), "p"), await compiler.compile(text("b"), "p")];
    assert(a === await compiler.compile(text("a"), "p"));
    await compiler.compile(text("c"), "p");
    assert(a === await compiler.compile(text("a"), "p"));
    assert(b !== await compiler.compile(text("b"), "p"));
  },
);

withCompiler(
  "a grammar that is forgotten while it is compiled takes no room of the others",
  { maxCached: 1, maxCachedBytes: 2 ** 20 },
  async (compiler) => {
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const [first] = await Promise.all(names.map((name) => compiler.compile(text(name), "p")));
    const numBytes = grammarBytes(first!);
    assert(names.length * numBytes > 2 ** 20 && numBytes < 2 ** 20, `${numBytes} bytes`);
    const last = await compiler.compile(text("z"), "p");
    assert(last === await compiler.compile(text("z"), "p"));
  },
);

withCompiler("a compiler that is closed says so", {}, async (compiler) => {
  compiler.close();
  await assertRejects(() => compiler.compile(text("a"), "p"), EngineUnavailableError);
});
