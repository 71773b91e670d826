import { assertEquals } from "@std/assert";
import { DEFAULT_LIMITS } from "../../src/http/services.ts";
import { loadTextService } from "../../src/tokenizer/text_service.ts";
import { listen, testServer } from "../http/server.ts";

const DEMO_DIR = new URL("../../models/demo", import.meta.url).pathname;

Deno.test("The door answers /health and short texts while it tokenizes the longest ones", async () => {
  const text = await loadTextService(DEMO_DIR, { tokenizeDeadlineMs: 600_000 });
  const server = testServer({ text, limits: DEFAULT_LIMITS });
  await using door = await listen(server);
  const post = async (path: string, body: unknown) => {
    const response = await fetch(door.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return await response.json();
  };
  const ended: string[] = [];
  const long = post("/tokenize", { prompt: "the".repeat(2 ** 19) })
    .then(({ count }) => ended.push(`long ${count > 100_000}`));
  for (let i = 0; i < 5; i++) {
    const response = await fetch(`${door.url}/health`);
    ended.push(`health ${(await response.json()).status}`);
    const { tokens } = await post("/tokenize", { messages: [{ role: "user", content: "Once" }] });
    ended.push(`short ${tokens.includes(721)}`);
  }
  await long;
  text.close();
  const others = Array.from({ length: 5 }, () => ["health ok", "short true"]).flat();
  assertEquals(ended, [...others, "long true"]);
});
