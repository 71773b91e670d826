import { assert, assertEquals, assertThrows } from "@std/assert";
import type { CompiledGrammar } from "../../src/core/compiled_grammar.ts";
import { RequestError } from "../../src/core/errors.ts";
import { GrammarMatchers } from "../../src/grammar/grammar_matchers.ts";
import { GrammarCompiler } from "../../src/grammar/grammar_compiler.ts";
import { BYTES, compiled, STOP, tokensOf } from "../support/grammar_sampler.ts";

const compiler = new GrammarCompiler(BYTES);

function texts(...values: string[]): CompiledGrammar {
  const elements = values.map((value) => ({ type: "const_string", value }) as const);
  return compiled(compiler, { type: "or", elements });
}

function codes(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

Deno.test("matchers of one grammar go their own ways in one instance", () => {
  const matchers = new GrammarMatchers();
  const grammar = texts("ab", "ac", "b");
  const [one, two] = [matchers.create(grammar), matchers.create(grammar)];
  assertEquals(matchers.numInstances, 1);
  one.accept(0x61);
  assertEquals(tokensOf(one.allowedTokens), codes("bc"));
  assertEquals(tokensOf(two.allowedTokens), codes("ab"));
  two.accept(0x62);
  assertEquals(tokensOf(two.allowedTokens), [STOP]);
  one.close();
  one.close();
  assertEquals(tokensOf(two.allowedTokens), [STOP]);
  two.close();
});

Deno.test("a bitmask stays as it was when the matcher goes on", () => {
  const matcher = new GrammarMatchers().create(texts("ab"));
  const before = matcher.allowedTokens;
  matcher.accept(0x61);
  assertEquals([tokensOf(before), tokensOf(matcher.allowedTokens)], [codes("a"), codes("b")]);
  matcher.close();
});

Deno.test("a token that may not come next fails the grammar, and no other grammar", () => {
  const matchers = new GrammarMatchers();
  const grammar = texts("ab");
  const [one, two] = [matchers.create(grammar), matchers.create(grammar)];
  const other = matchers.create(texts("xy"));
  const error = one.accept(0x7a);
  assertEquals([error?.status, error?.code], [500, "grammar_failed"]);
  assert(error!.message.includes("token 122 may not come next"));
  assertEquals(two.accept(0x61)?.code, "grammar_failed");
  assertEquals(other.accept(0x78), undefined);
  for (const matcher of [one, two, other]) matcher.close();
  const again = matchers.create(grammar);
  assertEquals(again.accept(0x61), undefined);
  again.close();
});

Deno.test("a token that takes too long ends the sequence", () => {
  const matchers = new GrammarMatchers({ tokenDeadlineMs: 0 });
  // The clock is looked at now and then: this one has enough to do for each token.
  const grammar = compiled(compiler, {
    type: "grammar",
    grammar:
      `root ::= (a | b | c)*\na ::= [a-z]{0,40}\nb ::= [a-y]{0,40}\nc ::= ([a-x]{0,9} root)?`,
  });
  let failure: unknown;
  try {
    const matcher = matchers.create(grammar);
    for (let i = 0; i < 500 && failure === undefined; i++) failure = matcher.accept(0x61);
  } catch (error) {
    failure = (error as RequestError).data;
  }
  assert((failure as { message: string }).message.includes("more time than allowed"));
});

Deno.test("idle instances are kept up to a limit, those used longest ago dropped first", () => {
  const [a, b, c] = [texts("a"), texts("b"), texts("c")];
  const numBytes = a.base.contents.length + a.changes.contents.length;
  const matchers = new GrammarMatchers({ maxIdleBytes: Math.ceil(2.5 * numBytes) });
  for (const grammar of [a, b, a, c]) matchers.create(grammar).close();
  assertEquals(matchers.numInstances, 2);
  const none = new GrammarMatchers({ maxIdleBytes: 0 });
  const matcher = none.create(a);
  assertEquals(none.numInstances, 1);
  matcher.close();
  assertEquals(none.numInstances, 0);
});

Deno.test("grammars in use have a limit of memory, which is answered with 429", () => {
  const [a, b] = [texts("a"), texts("b")];
  const numBytes = a.base.contents.length + a.changes.contents.length;
  const matchers = new GrammarMatchers({ maxUsedBytes: Math.ceil(1.5 * numBytes) });
  const first = matchers.create(a);
  const second = matchers.create(a);
  const { data } = assertThrows(() => matchers.create(b), RequestError);
  assertEquals([data.status, data.code], [429, "overloaded"]);
  first.close();
  second.close();
  matchers.create(b).close();
});
