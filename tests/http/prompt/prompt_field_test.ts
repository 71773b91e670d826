import { assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { CompletionsRequest } from "../../../src/http/openai/completions_schema.ts";
import { numPromptsIn, promptsIn } from "../../../src/http/prompt/prompt_field.ts";

function promptsFrom(prompt: unknown) {
  return promptsIn(CompletionsRequest.parse({ prompt }).prompt, "prompt", 100);
}

Deno.test("promptsIn() tells one prompt from several, as text or ids", () => {
  assertEquals(promptsFrom("a"), ["a"]);
  assertEquals(promptsFrom(["a", "b"]), ["a", "b"]);
  assertEquals(promptsFrom([1, 2]), [[1, 2]]);
  assertEquals(promptsFrom([[1, 2], [3]]), [[1, 2], [3]]);
  assertEquals(["a", ["a", "b"], [1, 2], [[1], [2]]].map(numPromptsIn), [1, 2, 1, 2]);
});

Deno.test("promptsIn() names the prompt or id that is wrong", () => {
  const wrong: [unknown, string][] = [
    [[1, 100], "prompt.1"],
    [[1, "a"], "prompt.1"],
    [["a", 1], "prompt.1"],
    [[[1], [2, -1]], "prompt.1.1"],
    [[{}], "prompt.0"],
    [new Array(2049).fill("a"), "prompt"],
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
