import { assertEquals } from "@std/assert";
import { ScopeRoots } from "../../../src/kvcache/prefix/scope_roots.ts";

Deno.test("ScopeRoots opens a root for its first child and forgets it with its last", () => {
  const roots = new ScopeRoots();
  assertEquals(roots.find("a"), undefined);
  const a = roots.addChild("a");
  assertEquals([roots.addChild("a"), roots.find("a"), roots.scopeOf(a)], [a, a, "a"]);
  const b = roots.addChild("b");
  assertEquals([roots.numScopes, roots.numChildren], [2, 3]);
  roots.dropChild(a);
  assertEquals(roots.find("a"), a);
  roots.dropChild(a);
  assertEquals([roots.find("a"), roots.find("b")], [undefined, b]);
  assertEquals(roots.addChild("c"), a, "numbers are used again");
  assertEquals([roots.scopeOf(a), roots.scopeOf(b)], ["c", "b"]);
});
