import { assertEquals } from "@std/assert";
import { TurnBudget } from "../../src/tokenizer/turn_budget.ts";

/** Takes shares, and says what had begun after each turn of the event loop. */
async function beginnings(perTurn: number, shares: readonly number[]): Promise<number[][]> {
  const budget = new TurnBudget(perTurn);
  const begun: number[] = [];
  const all = Promise.all(shares.map(async (units, i) => {
    await budget.take(units);
    begun.push(i);
  }));
  const seen: number[][] = [];
  while (begun.length < shares.length) {
    // All microtasks first, then what begins in the next turn.
    await Promise.resolve();
    await Promise.resolve();
    seen.push([...begun]);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await all;
  budget.close();
  return seen;
}

Deno.test("TurnBudget begins at once what one turn has room for, and the rest in order", async () => {
  const seen = await beginnings(10, [4, 4, 4, 1, 30, 1]);
  assertEquals(seen[0], [0, 1]);
  assertEquals(seen.at(-1)!.length >= 4, true);
  assertEquals((await beginnings(10, [4, 4, 1]))[0], [0, 1, 2]);
  assertEquals((await beginnings(10, [30, 1]))[0], [0]);
});

Deno.test("TurnBudget.close() lets all that waits begin", async () => {
  const budget = new TurnBudget(1);
  const waiting = [1, 1, 1].map((units) => budget.take(units));
  budget.close();
  await Promise.all(waiting);
});
