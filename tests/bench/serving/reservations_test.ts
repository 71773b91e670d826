import { assert, assertEquals } from "@std/assert";
import {
  ExactReservations,
  type Reservations,
  StaticBatches,
} from "../../../bench/serving/reservations.ts";
import { servingLoad } from "../../../bench/serving/serving_load.ts";

/** Lets requests of these lengths in; who has begun, in order, and what ends one. */
function enterAll(reservations: Reservations, lengths: readonly number[]) {
  const begun: number[] = [];
  const leaves = new Map<number, () => void>();
  lengths.forEach(async (outputLen, i) => {
    leaves.set(i, await reservations.enter({ prompt: "", promptLen: 1, outputLen }));
    begun.push(i);
  });
  const end = async (i: number) => {
    leaves.get(i)!();
    await settled();
  };
  return { begun, end };
}

/** Lets all promises that can settle do so. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("StaticBatches begins the next ones when the last of a batch has ended", async () => {
  const { begun, end } = enterAll(new StaticBatches(2), [9, 9, 9, 9, 9]);
  await settled();
  assertEquals(begun, [0, 1]);
  await end(1);
  assertEquals(begun, [0, 1]);
  await end(0);
  assertEquals(begun, [0, 1, 2, 3]);
  await end(3);
  await end(2);
  assertEquals(begun, [0, 1, 2, 3, 4]);
});

Deno.test("ExactReservations holds whole lengths, in order of arrival", async () => {
  const { begun, end } = enterAll(new ExactReservations(10), [3, 4, 5, 0]);
  await settled();
  assertEquals(begun, [0, 1], "4 and 5 positions; 6 more do not fit, and nobody passes");
  await end(0);
  assertEquals(begun, [0, 1]);
  await end(1);
  assertEquals(begun, [0, 1, 2, 3]);
});

Deno.test("servingLoad() draws requests that fit, the same for a seed, with system prompts in turns", () => {
  const words = { tokensPerWord: 2, overhead: 0, isMeasured: true };
  const load = { numRequests: 50, contextLen: 1024, seed: 3, words };
  const requests = servingLoad(load);
  assertEquals(requests.length, 50);
  assertEquals(requests, servingLoad(load));
  assert(requests.every(({ promptLen, outputLen }) => promptLen + outputLen <= 1024));
  assert(new Set(requests.map(({ prompt }) => prompt)).size === 50);
  const mean = requests.reduce((sum, { outputLen }) => sum + outputLen, 0) / 50;
  assert(mean > 100 && mean < 240, `${mean} tokens`);
  const shared = servingLoad({ ...load, shared: { numPrompts: 2, length: 200 } });
  const begins = shared.map(({ prompt }) => prompt.split(" ").slice(0, 100).join(" "));
  assertEquals(new Set(begins).size, 2);
  assertEquals(begins[0], begins[2]);
});
