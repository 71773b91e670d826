import { assertEquals } from "@std/assert";
import { starting } from "../../src/server/serve.ts";
import { StartProgress } from "../../src/server/start_progress.ts";

Deno.test("before there is an app, /health tells the phase, and the window is there", async () => {
  let nowMs = 1000;
  const start = new StartProgress(() => nowMs);
  nowMs = 3540;
  start.enter("load weights: 40 %");
  const health = starting(new Request("http://127.0.0.1/health"), start);
  const { state, start: told } = await health.json();
  assertEquals([health.status, state], [503, "starting"]);
  assertEquals(told, { phase: "load weights: 40 %", seconds: 2.5 });
  const page = starting(new Request("http://127.0.0.1/"), start);
  assertEquals([page.status, page.headers.get("content-type")], [200, "text/html; charset=utf-8"]);
  assertEquals(starting(new Request("http://127.0.0.1/v1/models"), start).status, 503);
});
