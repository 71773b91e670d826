import { assertEquals, assertStringIncludes } from "@std/assert";
import { CHAT, testServer } from "../server.ts";

const PATH = "/v1/chat/completions";

Deno.test("readJson() takes JSON under its media types, with parameters and in any case", async () => {
  const server = testServer();
  for (
    const type of ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
  ) {
    const response = await server.post(PATH, CHAT, { "content-type": type });
    assertEquals(response.status, 200, type);
    await response.body?.cancel();
  }
});

Deno.test("readJson() refuses other media types with 415", async () => {
  const server = testServer();
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "text/json", "x"]) {
    const response = await server.post(PATH, CHAT, { "content-type": type });
    assertEquals(response.status, 415, type);
    assertEquals((await response.json()).error.code, "unsupported_media_type");
  }
});

Deno.test("readJson() takes a body without a media type for JSON", async () => {
  const server = testServer();
  const stream = new Blob([JSON.stringify(CHAT)]).stream();
  assertEquals((await server.request(PATH, { method: "POST", body: stream })).status, 200);
  assertEquals((await server.post(PATH, CHAT, { "content-type": "" })).status, 200);
});

Deno.test("readJson() says where a body stops being JSON", async () => {
  const server = testServer();
  for (const body of ["", "{", '{"messages": [', "nope", "\u0000", "[1,]"]) {
    const headers = { "content-type": "application/json" };
    const response = await server.request(PATH, { method: "POST", body, headers });
    assertEquals(response.status, 400, body);
    const { error } = await response.json();
    assertEquals([error.code, error.param], ["invalid_json", null]);
    assertStringIncludes(error.message, "The body is not JSON: ");
  }
});

Deno.test("readJson() names the first offending field by its dotted path", async () => {
  const server = testServer();
  const wrong: [unknown, string | null, string][] = [
    [{}, "messages", "missing_required_parameter"],
    [{ ...CHAT, temperature: 3 }, "temperature", "invalid_value"],
    [{ ...CHAT, n: "2" }, "n", "invalid_type"],
    [{ messages: [{ role: "robot", content: "x" }] }, "messages.0.role", "invalid_value"],
    [{ ...CHAT, stream_options: 1, stream: true }, "stream_options", "invalid_type"],
    [[], null, "invalid_type"],
    [null, null, "invalid_type"],
    ["text", null, "invalid_type"],
  ];
  for (const [body, param, code] of wrong) {
    const response = await server.post(PATH, body);
    assertEquals(response.status, 400);
    const { error } = await response.json();
    assertEquals([error.param, error.code], [param, code]);
  }
});

Deno.test("readJson() refuses what is not supported before it judges the rest", async () => {
  const response = await testServer().post(PATH, { functions: [{}], messages: "x" });
  assertEquals((await response.json()).error.code, "unsupported_parameter");
});

Deno.test("readJson() refuses a number beyond a double's range", async () => {
  const server = testServer();
  for (const number of ["1e999", "-1e999"]) {
    const response = await server.request(PATH, {
      method: "POST",
      body: `{"messages":[{"role":"user","content":"x"}],"temperature":${number}}`,
      headers: { "content-type": "application/json" },
    });
    assertEquals([response.status, (await response.json()).error.param], [400, "temperature"]);
  }
});
