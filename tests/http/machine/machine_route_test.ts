import { assert, assertEquals } from "@std/assert";
import { bytesOf, type FakeEngine } from "../fake_engine.ts";
import { testServer } from "../server.ts";

const KEYED = {
  access: { apiKeys: ["user"], adminKeys: ["admin"], hostname: "127.0.0.1" },
};

/** The first events of a stream, which is left then. */
// deno-lint-ignore no-explicit-any -- events are JSON of several shapes
async function firstEvents(response: Response, count: number): Promise<any[]> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.split("\n\n").length <= count) text += (await reader.read()).value;
  await reader.cancel();
  return text.split("\n\n").slice(0, count).map((event) => JSON.parse(event.slice(6)));
}

Deno.test("GET /admin/machine greets with the caller's scope, then sends frames, to admins alone", async () => {
  const server = testServer(KEYED);
  const ask = (key: string) =>
    server.request("/admin/machine", { headers: { authorization: `Bearer ${key}` } });
  assertEquals((await ask("user")).status, 403);
  assertEquals((await ask("nobody")).status, 401);
  assertEquals(server.engine.commands, []);
  const response = await ask("admin");
  assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const [hello, frame] = await firstEvents(response, 2);
  assertEquals([hello.type, hello.history], ["hello", []]);
  assert(/^[0-9a-f]{8}$/.test(hello.scope), hello.scope);
  assertEquals([frame.type, frame.is_whole, frame.blocks], [
    "frame",
    true,
    { count: 64, changes: "" },
  ]);
});

Deno.test("GET /admin/machine/path reads in the caller's own scope, and skips what is above", async () => {
  const server = testServer(KEYED);
  const engine: FakeEngine = server.engine;
  engine.answers = {
    ...engine.answers,
    read_path: { tokens: Uint32Array.from(bytesOf("You are a helpful fox.")) },
  };
  const response = await server.request("/admin/machine/path?node=7&hash=-5&skip=8", {
    headers: { authorization: "Bearer admin", "x-api-key": "user" },
  });
  assertEquals(await response.json(), { n_tokens: 22, n_shown: 14, text: "a helpful fox." });
  const [command] = engine.commands;
  assert(command?.type === "read_path" && command.cacheScope !== undefined);
  await server.request("/admin/machine/path?node=7&hash=-5", {
    headers: { authorization: "Bearer admin" },
  });
  const [, other] = engine.commands;
  assert(other?.type === "read_path" && other.cacheScope !== command.cacheScope);
});

Deno.test("GET /admin/machine/path says that a path is gone or another's, and refuses bad queries", async () => {
  const server = testServer();
  const gone = await server.request("/admin/machine/path?node=7&hash=5");
  assertEquals([gone.status, (await gone.json()).error.param], [404, "node"]);
  for (const query of ["hash=5", "node=x&hash=5", "node=-1&hash=5", "node=1&hash=5&skip=-1"]) {
    assertEquals((await server.request(`/admin/machine/path?${query}`)).status, 400, query);
  }
});

Deno.test("DELETE /admin/requests/ID ends a request, and says when there is none", async () => {
  const server = testServer();
  const abort = () => server.request("/admin/requests/chat-1", { method: "DELETE" });
  assertEquals(await (await abort()).json(), { id: "chat-1", aborted_sequences: 1 });
  assertEquals(server.engine.commands, [{ type: "abort_request", requestId: "chat-1" }]);
  const { engine } = server;
  engine.answers = { ...engine.answers, abort_request: { numSequences: 0 } };
  assertEquals((await abort()).status, 404);
});
