import { assertEquals } from "@std/assert";
import { stripCharacters } from "../../src/tokenizer/jinja_strip.ts";
import { parseTemplate, renderTemplate } from "../../src/tokenizer/template_renderer.ts";

function render(template: string, text: unknown = undefined): string {
  const limits = { deadlineMs: 1000, maxChars: 1000 };
  const outcome = renderTemplate(parseTemplate(template), { text }, limits);
  return outcome.type === "rendered" ? outcome.text : `${outcome.type}: ${outcome.message}`;
}

Deno.test("stripCharacters() takes a set of characters off the chosen ends", () => {
  const both = { start: true, end: true };
  assertEquals(stripCharacters("abcxba", "ab", both), "cx");
  assertEquals(stripCharacters("abcxba", "ab", { start: true, end: false }), "cxba");
  assertEquals(stripCharacters("abcxba", "ab", { start: false, end: true }), "abcx");
  assertEquals(stripCharacters("🦙🦙", "🦙", both), "");
  assertEquals(stripCharacters("ab", "", both), "ab");
});

Deno.test("stripMethod() makes strip, lstrip and rstrip heed their argument", () => {
  const text = "\n  a \n";
  assertEquals(render("[{{ text.lstrip('\\n') }}]", text), "[  a \n]");
  assertEquals(render("[{{ text.rstrip('\\n') }}]", text), "[\n  a ]");
  assertEquals(render("[{{ text.strip('\\n') }}]", text), "[  a ]");
  assertEquals(render("[{{ text.strip('\\n').strip(' ').upper() }}]", text), "[A]");
});

Deno.test("stripMethod() leaves white space as the default, and other methods alone", () => {
  assertEquals(render("[{{ text.strip() }}][{{ text.lstrip(none) }}]", " a "), "[a][a ]");
  assertEquals(render("[{{ text | trim }}][{{ text.upper() }}]", " a "), "[a][ A ]");
  assertEquals(render("{{ text.strip }}", { strip: "field" }), "field");
  assertEquals(render("{{ text['strip']('x') }}", "xax").startsWith("failed"), false);
});

Deno.test("stripMethod() changes one value's methods, not the next one's", () => {
  const template = "{% for t in text %}[{{ t.strip('a') }}|{{ t.strip() }}]{% endfor %}";
  assertEquals(render(template, ["ab", " b "]), "[b|ab][ b |b]");
});
