import { assertEquals, assertRejects } from "@std/assert";
import { clientOf, modelOf } from "../../src/commands/server_client.ts";

Deno.test("clientOf() sends the first key of a list, and modelOf() asks for a name if none is given", async () => {
  const heard: (string | null)[] = [];
  let models = [{ id: "m" }];
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    ({ headers }) => {
      heard.push(headers.get("authorization"));
      return Response.json({ data: models });
    },
  );
  const url = `127.0.0.1:${server.addr.port}`;
  const client = clientOf({ url, apiKey: "first name=alice,second" });
  assertEquals(await modelOf(client, "asked"), "asked");
  assertEquals(await modelOf(client, undefined), "m");
  assertEquals(await modelOf(clientOf({ url }), undefined), "m");
  assertEquals(heard, ["Bearer first", null]);
  models = [];
  await assertRejects(
    () => modelOf(client, undefined),
    Error,
    `http://${url}/v1/models names no model: give one with --model`,
  );
});
