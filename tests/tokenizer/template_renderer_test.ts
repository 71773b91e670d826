import { assertEquals, assertThrows } from "@std/assert";
import { createHash } from "node:crypto";
import { parseTemplate, renderTemplate } from "../../src/tokenizer/template_renderer.ts";
import { testWithData } from "./shared_data.ts";

const LIMITS = { deadlineMs: 60_000, maxChars: 10_000 };
const NOW = new Date(2025, 6, 26, 14, 5, 9);

function render(template: string, variables: Record<string, unknown> = {}, limits = LIMITS) {
  return renderTemplate(parseTemplate(template), variables, limits, NOW);
}

interface Digests {
  readonly conversations: Record<string, unknown>;
  readonly tools: readonly unknown[];
  /** Those with the tools on offer. */
  readonly toolConversations: Record<string, unknown>;
  readonly renders: readonly {
    readonly template: string;
    readonly conversation: string;
    readonly addGenerationPrompt: boolean;
    readonly result: string;
  }[];
}

/** The outcome as `chat_template_digests.py` writes it. */
function digest(outcome: ReturnType<typeof render>): string {
  if (outcome.type === "rendered") {
    return createHash("sha256").update(outcome.text).digest("hex");
  }
  return outcome.type === "raised" ? `raised: ${outcome.message}` : outcome.type;
}

testWithData(
  "renderTemplate() agrees with Jinja2 on 14 real chat templates, with and without tools",
  ["chat-templates"],
  (dir) => {
    const golden = new URL("../golden/chat_template_digests.json", import.meta.url);
    const { conversations, tools, toolConversations, renders }: Digests = JSON.parse(
      Deno.readTextFileSync(golden),
    );
    const withTools = new Set<string>();
    assertEquals(new Set(renders.map(({ template }) => template)).size, 14);
    for (const { template, conversation, addGenerationPrompt, result } of renders) {
      const outcome = render(Deno.readTextFileSync(`${dir}/${template}`), {
        messages: conversations[conversation] ?? toolConversations[conversation],
        add_generation_prompt: addGenerationPrompt,
        bos_token: "<s>",
        eos_token: "</s>",
        tools: conversation in toolConversations ? tools : null,
        documents: null,
      });
      if (outcome.type === "rendered" && outcome.text.includes("celsius")) withTools.add(template);
      assertEquals(digest(outcome), result, `${template}, ${conversation}, ${addGenerationPrompt}`);
    }
    assertEquals(withTools.size >= 10, true, `${withTools.size} templates show tools`);
  },
);

Deno.test("renderTemplate() gives templates what chat templates count on", () => {
  assertEquals(render("{{ a }}{{ gone }}{{ 1 if True and true and not None }}", { a: "x" }), {
    type: "rendered",
    text: "x1",
  });
  assertEquals(render("{% for i in range(2, 9, 3) %}{{ i }},{% endfor %}"), {
    type: "rendered",
    text: "2,5,8,",
  });
  assertEquals(render("{{ range(3) | length }}{{ range(0, -4, -2) | join(' ') }}"), {
    type: "rendered",
    text: "30 -2",
  });
  assertEquals(render("{{ strftime_now('%d %b %Y') }}"), { type: "rendered", text: "26 Jul 2025" });
});

Deno.test("renderTemplate() takes an undefined name for no text where a filter wants one", () => {
  const text = (template: string) => {
    const outcome = render(template, { m: { a: " x " } });
    return outcome.type === "rendered" ? outcome.text : outcome.type;
  };
  assertEquals(
    text("[{{ m.a|trim }}{{ m.b|trim }}{{ none_such|upper }}{{ m.b|title|lower }}]"),
    "[x]",
  );
});

Deno.test("parseTemplate() drops the line of a block, as transformers does", () => {
  assertEquals(render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n  {{ 1 }}\n"), {
    type: "rendered",
    text: "a\n  b\nc\n  1",
  });
});

Deno.test("renderTemplate() reports what a template raises", () => {
  assertEquals(render("{{ raise_exception('roles must alternate') }}"), {
    type: "raised",
    message: "roles must alternate",
  });
});

Deno.test("renderTemplate() reports a template that is broken", () => {
  assertEquals(render("{{ 1 + gone.x }}").type, "failed");
  assertEquals(render("{{ range('a') }}").type, "failed");
  assertEquals(render("{{ range(1, 2, 0) }}").type, "failed");
  assertEquals(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").type, "failed");
});

Deno.test("renderTemplate() bounds lists and texts", () => {
  assertEquals(render("{% for i in range(1099511627776) %}{% endfor %}"), {
    type: "limit",
    message: "makes a list of over 100000 items",
  });
  const doubling = "{% set n = namespace(v=START) %}" +
    "{% for i in range(60) %}{% set n.v = n.v + n.v %}{% endfor %}";
  assertEquals(render(doubling.replace("START", "[1]")).type, "limit");
  assertEquals(render(doubling.replace("START", "'x'")), {
    type: "limit",
    message: "makes a text of over 10000 characters",
  });
  assertEquals(render("x".repeat(10_001)).type, "limit");
  assertEquals(render("x".repeat(10_000)).type, "rendered");
});

Deno.test("renderTemplate() stops at the deadline, also in loops without statements", () => {
  const templates = [
    "{% for i in range(50000) %}{% for j in range(50000) %}{{ i }}{% endfor %}{% endfor %}",
    "{% for i in range(20) %}{% for j in range(50000) %}{% endfor %}{% endfor %}",
  ];
  for (const template of templates) {
    let ms = 0;
    const clock = () => ms += 10;
    const limits = { deadlineMs: 100, maxChars: 1e9 };
    assertEquals(renderTemplate(parseTemplate(template), {}, limits, NOW, clock), {
      type: "limit",
      message: "takes longer than 100 ms",
    });
  }
});

Deno.test("renderTemplate() looks at the clock often enough, and lets a quick render finish", () => {
  let looks = 0;
  const clock = () => (looks++, 0);
  const template = parseTemplate("{% for i in range(1000) %}{{ i }}{% endfor %}");
  assertEquals(renderTemplate(template, {}, LIMITS, NOW, clock).type, "rendered");
  assertEquals(looks > 10, true, `${looks} looks`);
});

Deno.test("renderTemplate() gives no way to the runtime", () => {
  const escapes = [
    "{{ a.constructor }}",
    "{{ a['constructor'] }}",
    "{{ a.__proto__ }}",
    "{{ range.constructor }}",
    "{{ Deno }}{{ globalThis }}{{ self }}",
  ];
  for (const escape of escapes) {
    const outcome = render(`[${escape}]`, { a: { b: 1 } });
    assertEquals(outcome.type === "rendered" ? outcome.text : "[]", "[]", escape);
  }
});

Deno.test("parseTemplate() throws on bad syntax", () => {
  assertThrows(() => parseTemplate("{% if %}"));
  assertThrows(() => parseTemplate("{{ 'open }}"));
});
