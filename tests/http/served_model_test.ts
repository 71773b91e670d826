import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import { requireReady, servedName, unavailability } from "../../src/http/served_model.ts";
import { FakeEngine, INFO } from "./fake_engine.ts";
import { testServer } from "./server.ts";

const { model } = testServer().services;

Deno.test("servedName() echoes a served name and refuses another with the list", () => {
  assertEquals(servedName(undefined, model), "quire/test");
  assertEquals(servedName(null, model), "quire/test");
  assertEquals(servedName("alias", model), "alias");
  const { data } = assertThrows(() => servedName("gpt-4", model), RequestError);
  assertEquals([data.status, data.code, data.param], [404, "model_not_found", "model"]);
  assertStringIncludes(data.message, "quire/test, alias");
});

Deno.test("unavailability() gives the state and the reason, and nothing when ready", () => {
  const engine = new FakeEngine();
  assertEquals(unavailability(engine), undefined);
  assertEquals(requireReady(engine), INFO);
  engine.state = "restarting";
  engine.failure = "The device was lost";
  assertStringIncludes(unavailability(engine)!, "failure: The device was lost");
  assertThrows(() => requireReady(engine), EngineUnavailableError, "restarting");
});

Deno.test("requireReady() does not believe a ready engine that told nothing of itself", () => {
  const engine = new FakeEngine();
  engine.info = undefined;
  assertThrows(() => requireReady(engine), EngineUnavailableError, "starting");
});
