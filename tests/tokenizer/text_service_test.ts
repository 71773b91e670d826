import { assertEquals } from "@std/assert";
import { loadTextService, type TextService } from "../../src/tokenizer/text_service.ts";
import { GOLDEN_PROMPTS } from "./golden.ts";
import { DEMO_DIR, testWithData } from "./shared_data.ts";

async function withService(
  dir: string,
  body: (service: TextService) => void | Promise<void>,
): Promise<void> {
  const service = await loadTextService(dir);
  try {
    await body(service);
  } finally {
    service.close();
  }
}

Deno.test("TextService makes the golden ids of every prompt, chat and raw", async () => {
  await withService(DEMO_DIR, async (service) => {
    const kinds = new Set<string>();
    for (const { id, type, messages, prompt, prompt_ids } of GOLDEN_PROMPTS) {
      const ids = type === "chat"
        ? await service.encodeChat(messages!)
        : (await service.encode([prompt]))[0]!;
      assertEquals([...ids], prompt_ids, id);
      kinds.add(type);
    }
    assertEquals([...kinds].sort(), ["chat", "raw"]);
  });
});

Deno.test("TextService streams the golden continuations without their special tokens", async () => {
  await withService(DEMO_DIR, async (service) => {
    for (const { id, greedy_ids, greedy_text } of GOLDEN_PROMPTS) {
      const shown = service.createDetokenizer();
      const text = greedy_ids.map((token) => shown.push([token])).join("") + shown.flush();
      const special = /<\|(endoftext|im_start|im_end)\|>/g;
      assertEquals(text, greedy_text.replace(special, ""), id);
      assertEquals(await service.decode([greedy_ids]), [greedy_text], id);
      const whole = service.createDetokenizer({ skipSpecialTokens: false });
      assertEquals(whole.push(greedy_ids) + whole.flush(), greedy_text, id);
    }
  });
});

Deno.test("TextService passes chat options on and names the vocabulary's facts", async () => {
  await withService(DEMO_DIR, async (service) => {
    const messages = [{ role: "user", content: "Hi" }, { role: "assistant", content: "Yo" }];
    const render = async (
      options: { addGenerationPrompt?: boolean; continueFinalMessage?: boolean },
    ) => (await service.decode([await service.encodeChat(messages, options)]))[0];
    const open = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo";
    assertEquals(await render({ continueFinalMessage: true }), open);
    assertEquals(await render({ addGenerationPrompt: false }), `${open}<|im_end|>\n`);
    assertEquals([service.vocabSize, service.eosTokenIds], [2048, [2, 0]]);
    assertEquals([service.tokenText(2), service.tokenBytes(2).length], ["<|im_end|>", 10]);
    assertEquals(service.maxCharsPerToken >= 10, true);
  });
});

testWithData(
  "TextService puts Llama 3.2's start token once before a chat, and once before a text",
  ["tokenizers/llama-3.2"],
  (dir) =>
    withService(dir!, async (service) => {
      const count = (ids: Uint32Array) => ids.filter((id) => id === 128000).length;
      const chat = await service.encodeChat([{ role: "user", content: "Hi" }]);
      assertEquals([chat[0], count(chat)], [128000, 1]);
      const [text] = await service.encode(["Hi"]);
      assertEquals([text![0], count(text!)], [128000, 1]);
    }),
);
