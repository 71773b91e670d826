import { assertEquals } from "@std/assert";
import { testServer } from "../server.ts";

Deno.test("a query is refused with the parameter, its limit and its value", async () => {
  const server = testServer();
  const refusals = [
    ["/admin/kv/log?limit=0", "limit", 'limit must be at least 1, got "0"'],
    ["/admin/kv/log?limit=10001", "limit", 'limit must be at most 10000, got "10001"'],
    ["/admin/kv/log?from=x", "from", 'from must be a number, got "x"'],
    ["/kv/events?from=-1", "from", 'from must be at least 0, got "-1"'],
    ["/kv/events?from=1.5", "from", 'from must be an integer, got "1.5"'],
    ["/admin/machine/path?hash=5", "node", "node is required"],
  ] as const;
  for (const [path, param, message] of refusals) {
    const response = await server.request(path);
    const { error } = await response.json();
    assertEquals([response.status, error.param, error.message], [400, param, message]);
  }
});
