/**
 * The share of KV memory held by running sequences that has tokens in it, by allocator, over the
 * requests' lives, on lengths like those of ShareGPT and Alpaca, at most 2,048 tokens. No device
 * takes part, and the numbers are the same on every machine; the last line is the same as JSON.
 * `--quick` draws fewer requests.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { heldMemory } from "../src/plan/held_memory.ts";
import { allocatorName, table } from "../src/plan/plan_text.ts";
import { LENGTH_DISTRIBUTIONS, sampleLengths } from "../src/plan/request_lengths.ts";

const MAX_MODEL_LEN = 2048;
const NUM_REQUESTS = 200_000;
const SEED = 1;

function main(): void {
  const numRequests = Deno.args.includes("--quick") ? 2000 : NUM_REQUESTS;
  const columns = LENGTH_DISTRIBUTIONS.map((distribution) => {
    const requests = sampleLengths(distribution, { numRequests, seed: SEED })
      .filter(({ promptLen, outputLen }) => promptLen + outputLen <= MAX_MODEL_LEN);
    return { name: distribution.name, rows: heldMemory(requests, { maxModelLen: MAX_MODEL_LEN }) };
  });
  const names = columns[0]!.rows.map(allocatorName);
  console.log("Useful share of the KV memory held, and positions held per running sequence:\n");
  console.log(table([
    ["allocator", ...columns.flatMap(({ name }) => [name, "held"])],
    ...names.map((name, i) => [
      name,
      ...columns.flatMap(({ rows }) => [
        `${(100 * rows[i]!.usefulShare).toFixed(1)} %`,
        rows[i]!.meanHeldLen.toFixed(0),
      ]),
    ]),
  ]));
  const shares = Object.fromEntries(columns.map(({ name, rows }) => [
    name,
    Object.fromEntries(
      rows.map((row) => [
        `${row.allocator}${row.blockSize ?? ""}`,
        Number(row.usefulShare.toFixed(4)),
      ]),
    ),
  ]));
  const settings = { maxModelLen: MAX_MODEL_LEN, numRequests, seed: SEED };
  console.log(`\n${JSON.stringify({ bench: "kv_memory", ...settings, shares })}`);
}

if (import.meta.main) main();
