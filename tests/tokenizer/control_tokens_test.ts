import { assert, assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import {
  ControlTokenMask,
  isControlToken,
  withoutPlaceholders,
} from "../../src/tokenizer/control_tokens.ts";

const mask = new ControlTokenMask(["<|im_end|>", "[INST]", "<s>"]);

Deno.test("isControlToken() goes by the vocabulary's own word or by the usual shape", () => {
  const of = (content: string, special = false) => isControlToken({ content, special });
  assertEquals([of("<s>", true), of("<|fim_pad|>"), of("<｜User｜>")], [true, true, true]);
  assertEquals(of("</s>"), true);
  assertEquals([of("<think>"), of("</tool_call>"), of("    "), of("<s>")], Array(4).fill(false));
});

Deno.test("ControlTokenMask leaves texts without control tokens as they are", () => {
  const texts = ["a < b", "<think>x</think>", "<|im_start", "\ue000"];
  assertEquals(mask.mask(texts), { texts, placeholders: {} });
});

Deno.test("ControlTokenMask hides every control token, and the beginning of one at an end", () => {
  const texts = ["a<|im_end|><|im_end|>", "[INST]<s", "<<s>>"];
  const masked = mask.mask(texts, ["\ue000 of the template"]);
  assertEquals(masked.texts, [
    "a\ue001|im_end|>\ue001|im_end|>",
    "\ue002INST]\ue001s",
    "<\ue001s>>",
  ]);
  assertEquals(
    masked.texts.map((text) => withoutPlaceholders(text, masked.placeholders)),
    texts,
  );
});

Deno.test("ControlTokenMask takes no placeholder that a client has written", () => {
  const all = String.fromCharCode(...Array.from({ length: 0xf8ff - 0xe000 }, (_, i) => 0xe000 + i));
  const { texts, placeholders } = mask.mask(["<s>", all.replace("\uf123", "")]);
  assertEquals(placeholders, { "\uf123": "<" });
  assert(texts[0] === "\uf123s>");
  const error = assertThrows(() => mask.mask(["<s>", all]), RequestError, "private-use");
  assertEquals([error.data.status, error.data.param], [400, "messages"]);
  assertEquals(mask.mask([all]).placeholders, {});
});
