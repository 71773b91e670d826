import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { z } from "zod";
import { describeIssue } from "../../../src/http/body/describe_issue.ts";

const Part = z.looseObject({ type: z.string(), text: z.string() });
const Body = z.looseObject({
  temperature: z.number().min(0).max(2).nullish(),
  share: z.number().gt(0).lt(1).nullish(),
  n: z.int().min(1).max(64).nullish(),
  role: z.enum(["system", "user"]).nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(2)]).nullish(),
  parts: z.array(z.looseObject({ content: z.union([z.string(), z.array(Part)]) })).nullish(),
  name: z.string().max(3).nullish(),
});

function describe(body: unknown) {
  const { error } = Body.safeParse(body);
  assert(error !== undefined, "expected the body to be refused");
  return describeIssue(error.issues[0]!, body);
}

Deno.test("describeIssue() names field, limit and value", () => {
  const messages: [unknown, string][] = [
    [{ temperature: 2.5 }, "temperature must be at most 2, got 2.5"],
    [{ temperature: -1 }, "temperature must be at least 0, got -1"],
    [{ temperature: "hot" }, 'temperature must be a number, got "hot"'],
    [{ temperature: Infinity }, "temperature must be a number, got Infinity"],
    [{ share: 1 }, "share must be less than 1, got 1"],
    [{ share: 0 }, "share must be more than 0, got 0"],
    [{ n: 65 }, "n must be at most 64, got 65"],
    [{ n: 1.5 }, "n must be an integer, got 1.5"],
    [{ n: [] }, "n must be a number, got an array of 0 elements"],
    [{ n: {} }, "n must be a number, got an object"],
    [{ role: "tool" }, 'role must be one of "system", "user", got "tool"'],
    [{ name: "abcd" }, 'name must be a string of at most 3 characters, got "abcd"'],
    [[], "The body must be an object, got an array of 0 elements"],
    [null, "The body must be an object, got null"],
  ];
  for (const [body, message] of messages) assertEquals(describe(body).message, message);
});

Deno.test("describeIssue() goes into the branch of a union that its sender meant", () => {
  assertEquals(describe({ stop: 5 }), {
    param: "stop",
    message: "stop must be a string or an array, got 5",
    code: "invalid_type",
  });
  assertEquals(describe({ stop: ["a", ""] }), {
    param: "stop.1",
    message: 'stop.1 must be a string of at least 1 characters, got ""',
    code: "invalid_value",
  });
  assertEquals(
    describe({ stop: ["a", "b", "c"] }).message,
    [
      "stop must be an array of at most 2 elements, got an array of 3 elements",
    ][0],
  );
  assertEquals(describe({ parts: [{ content: [{ type: "text" }] }] }), {
    param: "parts.0.content.0.text",
    message: "parts.0.content.0.text is required",
    code: "missing_required_parameter",
  });
});

Deno.test("describeIssue() shortens long texts and does not walk into deep values", () => {
  assert(describe({ n: "x".repeat(1000) }).message.length < 100);
  const deep = JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
  assertStringIncludes(describe({ n: deep }).message, "an array of 1 elements");
});
