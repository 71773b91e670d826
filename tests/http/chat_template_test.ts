import { assertEquals, assertStringIncludes } from "@std/assert";
import { testServer } from "./server.ts";

const messages = [{ role: "user", content: "Hi" }];
const TEMPLATE = "{% for i in range(100000000) %}x{% endfor %}";

/** Bodies of the endpoints that put a conversation through the model's template. */
const CONVERSATIONS: readonly (readonly [path: string, body: object])[] = [
  ["/v1/chat/completions", { messages }],
  ["/v1/chat/completions/render", { messages }],
  ["/apply-template", { messages }],
  ["/tokenize", { messages }],
  ["/admin/kv/pins", { name: "x", messages }],
  ["/v1/responses", { input: "Hi" }],
  ["/v1/responses/input_tokens", { input: "Hi" }],
  ["/v1/messages", { model: "alias", max_tokens: 3, messages }],
  ["/v1/messages/count_tokens", { model: "alias", messages }],
  ["/api/chat", { model: "alias", messages }],
  ["/api/generate", { model: "alias", prompt: "Hi" }],
];

Deno.test("no request sets a chat template: every endpoint refuses one by name", async () => {
  const server = testServer();
  for (const [path, body] of CONVERSATIONS) {
    assertEquals((await server.post(path, body)).status, 200, path);
    const fields = path.startsWith("/api/") ? ["chat_template", "template"] : ["chat_template"];
    for (const field of fields) {
      const response = await server.post(path, { ...body, [field]: TEMPLATE });
      assertEquals(response.status, 400, path);
      assertStringIncludes(await response.text(), `${field} is not`);
    }
    const variables = { chat_template_kwargs: { messages: [], add_generation_prompt: true } };
    const response = await server.post(path, { ...body, ...variables });
    if (path !== "/admin/kv/pins") assertEquals(response.status, 400, path);
    await response.body?.cancel();
  }
});
