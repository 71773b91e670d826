import { assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import { CompletionsRequest, promptsOf } from "../../src/http/completions_schema.ts";

function promptsFrom(prompt: unknown) {
  return promptsOf(CompletionsRequest.parse({ prompt }), 100);
}

Deno.test("promptsOf() tells one prompt from several, as text or ids", () => {
  assertEquals(promptsFrom("a"), ["a"]);
  assertEquals(promptsFrom(["a", "b"]), ["a", "b"]);
  assertEquals(promptsFrom([1, 2]), [[1, 2]]);
  assertEquals(promptsFrom([[1, 2], [3]]), [[1, 2], [3]]);
});

Deno.test("promptsOf() names the prompt or id that is wrong", () => {
  const wrong: [unknown, string][] = [
    [[1, 100], "prompt.1"],
    [[1, "a"], "prompt.1"],
    [["a", 1], "prompt.1"],
    [[[1], [2, -1]], "prompt.1.1"],
    [[{}], "prompt.0"],
    [new Array(1025).fill("a"), "prompt"],
  ];
  for (const [prompt, param] of wrong) {
    assertEquals(assertThrows(() => promptsFrom(prompt), RequestError).data.param, param);
  }
});

Deno.test("CompletionsRequest refuses a prompt of another type and an empty list", () => {
  for (const prompt of [undefined, null, 5, {}, []]) {
    assertEquals(CompletionsRequest.safeParse({ prompt }).success, false);
  }
});
