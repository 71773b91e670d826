import { assert, assertEquals } from "@std/assert";
import { Hono } from "hono";
import { longJson, LongList } from "../../../src/http/openai/long_json.ts";

async function answerOf(fields: Record<string, unknown>): Promise<Response> {
  return await new Hono().get("/", (c) => longJson(c, fields)).request("/");
}

Deno.test("longJson() writes what JSON.stringify() writes, short and long", async () => {
  const cases: Record<string, unknown>[] = [
    {},
    { a: 1, b: null, c: 'x\n"y"', d: [1, { e: true }], gone: undefined },
    { text: "🦙\ud800é\n".repeat(40_000), odd: `x${"🦙".repeat(70_000)}` },
  ];
  for (const fields of cases) {
    const response = await answerOf(fields);
    assertEquals(response.headers.get("content-type"), "application/json");
    assertEquals(await response.json(), JSON.parse(JSON.stringify(fields)));
  }
  for (const length of [0, 1, 4095, 4096, 4097, 50_000]) {
    const list = new LongList(length, (i) => ({ id: i, piece: `p${i}` }));
    const response = await answerOf({ count: length, list, after: "x" });
    const expected = Array.from({ length }, (_, i) => ({ id: i, piece: `p${i}` }));
    assertEquals(await response.json(), { count: length, list: expected, after: "x" });
  }
});

Deno.test("longJson() makes elements while others have their turn", async () => {
  let made = 0;
  const list = new LongList(500_000, (i) => (made++, i));
  const response = await answerOf({ list });
  assert(made < 50_000, `${made} elements before the answer began`);
  const seen: number[] = [];
  const watch = setInterval(() => seen.push(made), 0);
  const { list: read } = await response.json();
  clearInterval(watch);
  assertEquals([read.length, made], [500_000, 500_000]);
  assert(new Set(seen).size > 10, "nobody else had a turn");
});
