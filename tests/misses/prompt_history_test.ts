import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { PromptHistory } from "../../src/misses/prompt_history.ts";
import { anchorsOf, bytesOf, type PromptRecord } from "../../src/misses/prompt_record.ts";
import { runs } from "../support/runs.ts";

const COUNTERS = { numEvictedBlocks: 0, numResetBlocks: 0, numRestarts: 0 };

function fieldsOf(owner: string, first: string, length: number): Omit<PromptRecord, "id"> {
  const messages = [{ role: "user", content: first }];
  return {
    ...{ owner, scope: owner, answers: [], counters: COUNTERS },
    ids: new Uint32Array(length),
    origin: { messages, variables: {}, numChars: first.length },
  };
}

/** Adds a prompt, in place of an earlier one or not; or adds an answer to an earlier one. */
const Operation = fc.record({
  owner: fc.constantFrom("a", "b"),
  first: fc.constantFrom("Hi", "Why?", "Go"),
  length: fc.integer({ min: 1, max: 600 }),
  kind: fc.constantFrom("add", "replace", "answer"),
  pick: fc.nat(),
});

Deno.test("PromptHistory stays within its bytes, counts them, and finds what it keeps", () => {
  fc.assert(
    fc.property(fc.array(Operation, { maxLength: 60 }), fc.integer({ min: 0, max: 12_000 }), (
      operations,
      maxBytes,
    ) => {
      const history = new PromptHistory(maxBytes);
      const all: PromptRecord[] = [];
      for (const { owner, first, length, kind, pick } of operations) {
        const earlier = all[pick % Math.max(1, all.length)];
        if (kind === "answer" && earlier !== undefined) {
          history.addAnswer(earlier, new Uint32Array(length), 2);
          assert(earlier.answers.length <= 2);
        } else {
          const replaced = kind === "replace" ? earlier : undefined;
          all.push(history.add(fieldsOf(owner, first, length), replaced));
        }
        assert(history.numBytes <= maxBytes);
      }
      const kept = new Set(["a", "b"].flatMap((owner) => history.latestOf(owner)));
      for (const owner of ["a", "b"]) {
        for (const first of ["Hi", "Why?", "Go"]) {
          const [anchor] = anchorsOf(fieldsOf(owner, first, 1));
          const anchored = new Set<PromptRecord>();
          history.addAnchored(anchor!, anchored);
          const found = [...anchored];
          for (const record of found) {
            kept.add(record);
            assertEquals([record.owner, record.origin!.messages[0]!.content], [owner, first]);
          }
          assertEquals(found.map(({ id }) => id), found.map(({ id }) => id).sort((a, b) => b - a));
        }
      }
      // Few enough for all of them to be found.
      if (history.size <= 8) {
        assertEquals(kept.size, history.size);
        const numBytes = [...kept].reduce((sum, record) => sum + bytesOf(record), 0);
        assertEquals(numBytes, history.numBytes);
      }
    }),
    { numRuns: runs(300), seed: 11 },
  );
});

Deno.test("PromptHistory forgets the oldest first, and a prompt that another goes on from", () => {
  const history = new PromptHistory(3 * 1100);
  const [one, two] = ["one", "two"].map((first) => history.add(fieldsOf("a", first, 10)));
  history.add(fieldsOf("a", "two", 12), two);
  history.add(fieldsOf("a", "three", 10));
  assertEquals(history.size, 3);
  assertEquals(history.latestOf("a").at(-1), one);
  history.add(fieldsOf("a", "four", 10));
  const left = history.latestOf("a").map(({ origin }) => origin!.messages[0]!.content);
  assertEquals(left, ["four", "three", "two"]);
  history.addAnswer(one!, new Uint32Array(4), 2);
  assertEquals([history.size, one!.answers.length], [3, 0], "nothing is added to what is gone");
});
