import { assertEquals } from "@std/assert";
import { INFO } from "./fake_engine.ts";
import { testServer } from "./server.ts";

Deno.test("propsRoute() describes the server in llama.cpp's words, and nothing it does not know", async () => {
  const fake = testServer().services.model;
  const model = {
    ...fake,
    chatTemplate: "{{ messages }}",
    defaults: { temperature: 0.6, topK: 20 },
  };
  const server = testServer({ model });
  assertEquals(await (await server.request("/props")).json(), {
    default_generation_settings: {
      n_ctx: INFO.maxModelLen,
      params: { temperature: 0.6, top_p: 1, top_k: 20, min_p: 0, repeat_penalty: 1 },
    },
    total_slots: INFO.maxNumSeqs,
    model_alias: "quire/test",
    chat_template: "{{ messages }}",
    eos_token: "<eos>",
    modalities: { vision: false, audio: false },
    build_info: "quire-1.2.3",
    is_sleeping: false,
  });
  server.engine.state = "starting";
  assertEquals((await server.request("/props")).status, 503);
});

Deno.test("slotsRoute() counts what runs, and fails where nothing is free if that is asked for", async () => {
  const server = testServer();
  const taken = async (query = "") => {
    const response = await server.request(`/slots${query}`);
    const slots = await response.json();
    return response.status === 200
      ? slots.filter((slot: { is_processing: boolean }) => slot.is_processing).length
      : slots.error.code;
  };
  assertEquals(await taken("?fail_on_no_slot=1"), 0);
  server.engine.stats = { ...server.engine.stats, numRunning: INFO.maxNumSeqs };
  assertEquals(await taken(), INFO.maxNumSeqs);
  assertEquals(await taken("?fail_on_no_slot=1"), "no_slot_available");
});
