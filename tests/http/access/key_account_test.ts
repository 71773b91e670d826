import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../../src/core/errors.ts";
import { KeyAccount, type KeyUse } from "../../../src/http/access/key_account.ts";
import type { KeyRules } from "../../../src/http/access/key_rules.ts";
import { runs } from "../../support/runs.ts";
import { CHAT, testServer } from "../server.ts";

const PATH = "/v1/chat/completions";

/** An account whose time the test moves. */
function accountOf(rules: Partial<KeyRules>) {
  const clock = { ms: 0 };
  return { clock, account: new KeyAccount({ name: "alice", ...rules }, () => clock.ms) };
}

function refusal(account: KeyAccount) {
  return assertThrows(() => account.begin(1), RequestError).data;
}

Deno.test("KeyAccount admits so many requests at once, and the next when one has ended", () => {
  const { account } = accountOf({ maxRequests: 2 });
  const first = account.begin(5);
  account.begin(5);
  const { status, code, message, details } = refusal(account);
  assertEquals([status, code, details?.limit], [429, "rate_limit_exceeded", 2]);
  assertEquals(message, "The key alice has 2 requests in flight, its limit");
  first.end();
  first.end();
  account.begin(5);
  refusal(account);
});

Deno.test("KeyAccount charges prompts and answers, and says when tokens are there again", () => {
  const { account, clock } = accountOf({ tokensPerMinute: 60 });
  const use = account.begin(40);
  use.charge(30);
  assertEquals(account.headers(), {
    "x-ratelimit-limit-tokens": "60",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "70s",
  });
  // One token per second: the debt of 10 is paid after 10 s, and there is one after 11.
  assertEquals(refusal(account).details?.retry_after_seconds, 11);
  clock.ms = 10_000;
  assertEquals(refusal(account).details?.retry_after_seconds, 1);
  clock.ms = 11_000;
  account.begin(1).cancel();
  account.begin(1);
  refusal(account);
  clock.ms = 10 * 60_000;
  assertEquals(account.headers()["x-ratelimit-remaining-tokens"], "60");
});

Deno.test("KeyAccount never grants more than a minute's tokens and the last request's surplus", () => {
  const action = fc.record({
    waitMs: fc.nat({ max: 20_000 }),
    prompt: fc.integer({ min: 1, max: 80 }),
    generated: fc.nat({ max: 80 }),
    isCancelled: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
      const { account, clock } = accountOf({ tokensPerMinute: 100, maxRequests: 3 });
      const open: KeyUse[] = [];
      let charged = 0;
      let largest = 0;
      for (const { waitMs, prompt, generated, isCancelled } of actions) {
        clock.ms += waitMs;
        const given = 100 + clock.ms / 60_000 * 100;
        try {
          const use = account.begin(prompt);
          assert(open.length < 3);
          if (isCancelled) use.cancel();
          else {
            use.charge(generated);
            open.push(use);
            largest = Math.max(largest, prompt + generated);
            charged += prompt + generated;
          }
        } catch (error) {
          assert(error instanceof RequestError && error.data.status === 429);
          open.shift()?.end();
        }
        assert(charged <= given + largest, `${charged} of ${given}`);
      }
    }),
    { seed: 3, numRuns: runs(500) },
  );
});

Deno.test("a key's limits, priority and name go with its requests, and with no other's", async () => {
  const keyRules = new Map([
    ["a", { name: "alice", maxRequests: 1, tokensPerMinute: 1000, priority: 7 }],
    ["b", { name: "bob" }],
  ]);
  const access = { apiKeys: ["a", "b"], adminKeys: [], hostname: "127.0.0.1", keyRules };
  const server = testServer({ access });
  server.engine.isManual = true;
  const ask = (key: string, body = {}) =>
    server.post(PATH, { ...CHAT, ...body }, { authorization: `Bearer ${key}` });
  const streaming = await ask("a", { stream: true });
  assertEquals(server.engine.requests[0]!.ownerPriority, 7);
  assertEquals(streaming.headers.get("x-ratelimit-limit-requests"), "1");
  assertEquals(streaming.headers.get("x-ratelimit-remaining-requests"), "0");
  const refused = await ask("a");
  assertEquals([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  assertEquals((await refused.json()).error.code, "rate_limit_exceeded");
  // Another key has limits of its own: none.
  const other = await ask("b", { stream: true });
  assertEquals([other.status, other.headers.get("x-ratelimit-limit-requests")], [200, null]);
  assertEquals(server.engine.requests.map(({ ownerPriority }) => ownerPriority), [7, undefined]);
  await streaming.body!.cancel();
  await other.body!.cancel();
  for (const run of server.engine.runs) await run.ended;
  server.engine.isManual = false;
  const again = await ask("a");
  assertEquals(again.status, 200);
  // Prompt and answer, stop token included, are charged.
  const { usage } = await again.json();
  const after = await ask("a");
  const left = Number(after.headers.get("x-ratelimit-remaining-tokens"));
  assert(left <= 1000 - usage.total_tokens - usage.prompt_tokens, `${left} left`);
  const names = server.log.filter(({ message }) => message === "generation").map(({ key }) => key);
  assertEquals(new Set(names), new Set(["alice", "bob"]));
  const metrics = await (await server.request("/metrics", { headers: { "x-api-key": "b" } }))
    .text();
  const metric = (name: string) =>
    Number(metrics.split("\n").find((line) => line.startsWith(name))?.split(" ").at(-1));
  const labels = (name: string, kind: string) => `quire:key_tokens_total{key="${name}",${kind}`;
  assertEquals(metric(labels("alice", 'kind="prompt"')), 3 * usage.prompt_tokens);
  assertEquals(metric(labels("bob", 'kind="prompt"')), usage.prompt_tokens);
  assert(metric(labels("alice", 'kind="generation"')) >= 2 * usage.completion_tokens);
  assertEquals(metric('quire:key_refusals_total{key="alice",limit="requests"'), 1);
  // What the engine refuses is not charged, and takes no place.
  server.engine.refusal = new RequestError("Full", { status: 429, code: "queue_full" });
  for (let i = 0; i < 3; i++) {
    assertEquals((await (await ask("a")).json()).error.code, "queue_full");
  }
  server.engine.refusal = undefined;
  assertEquals((await ask("a")).status, 200);
});
