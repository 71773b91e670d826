import { assertEquals, assertRejects } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import { PendingCommands } from "../../src/engine/pending_commands.ts";

Deno.test("PendingCommands.settle() answers each command with its own value or refusal", async () => {
  const commands = new PendingCommands();
  const [a, b] = [commands.open(), commands.open()];
  const error = new RequestError("In use", { status: 409, code: "prefix_cache_in_use" }).data;
  commands.settle(b.id, undefined, error);
  commands.settle(a.id, { numPreempted: 3 }, undefined);
  assertEquals(await a.reply, { numPreempted: 3 });
  const { data } = await assertRejects(() => b.reply, RequestError, "In use");
  assertEquals(data, error);
});

Deno.test("PendingCommands.failAll() rejects what waits, and a late reply is ignored", async () => {
  const commands = new PendingCommands();
  const { id, reply } = commands.open();
  commands.failAll("The engine stopped");
  await assertRejects(() => reply, EngineUnavailableError, "The engine stopped");
  commands.settle(id, 1, undefined);
});
