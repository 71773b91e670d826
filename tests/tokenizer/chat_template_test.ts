import { assertEquals, assertRejects } from "@std/assert";
import { EngineUnavailableError, RequestError, StartupError } from "../../src/core/errors.ts";
import { ChatTemplate, type ChatTemplateOptions } from "../../src/tokenizer/chat_template.ts";

const TOKENS = { bosToken: "<s>", eosToken: "</s>" };
const SIMPLE =
  "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}" +
  "{% if add_generation_prompt %}[assistant]{% endif %}";

/** Loads a template from a directory with these files, hands it to `body`, and ends its Worker. */
async function withTemplate(
  files: Record<string, string>,
  body: (template: ChatTemplate) => Promise<void>,
  options: ChatTemplateOptions = {},
): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "quire-template-" });
  try {
    for (const [name, text] of Object.entries(files)) {
      Deno.writeTextFileSync(`${dir}/${name}`, text);
    }
    const template = await ChatTemplate.load(dir, TOKENS, options);
    try {
      await body(template);
    } finally {
      template.close();
    }
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function jinja(source: string): Record<string, string> {
  return { "chat_template.jinja": source };
}

function config(chat_template: unknown): Record<string, string> {
  return { "tokenizer_config.json": JSON.stringify({ chat_template }) };
}

function user(content: string) {
  return { role: "user", content };
}

function assistant(content: string) {
  return { role: "assistant", content };
}

Deno.test("ChatTemplate renders messages, and the assistant's start unless told not to", async () => {
  await withTemplate(jinja(SIMPLE), async (template) => {
    const messages = [user("Hi"), assistant("Yo")];
    const text = "<s>[user]Hi</s>[assistant]Yo</s>";
    assertEquals(await template.render(messages), `${text}[assistant]`);
    assertEquals(await template.render(messages, { addGenerationPrompt: false }), text);
  });
});

Deno.test("ChatTemplate.load() prefers the file, then the config, its default, then the processor's", async () => {
  const expect = (files: Record<string, string>, text: string) =>
    withTemplate(files, async (template) => {
      assertEquals(await template.render([]), text);
    });
  await expect({ ...jinja("file"), ...config("config") }, "file");
  await expect(config("config"), "config");
  const named = [{ name: "tools", template: "t" }, { name: "default", template: "d" }];
  await expect(config(named), "d");
  const processor = { "chat_template.json": JSON.stringify({ chat_template: "processor" }) };
  await expect({ ...config("config"), ...processor }, "config");
  await expect({ ...config(null), ...processor }, "processor");
});

Deno.test("ChatTemplate.render() says when the model has no template", async () => {
  const missing = [{}, config(null), config([{ name: "tools", template: "t" }])];
  for (const files of missing) {
    await withTemplate(files, async (template) => {
      const error = await assertRejects(() => template.render([user("a")]), RequestError);
      assertEquals([error.data.status, error.data.code], [400, "no_chat_template"]);
    });
  }
});

Deno.test("ChatTemplate.load() refuses a template that is not Jinja, naming the file", async () => {
  const refuse = (files: Record<string, string>, part: string) =>
    assertRejects(() => withTemplate(files, () => Promise.resolve()), StartupError, part);
  await refuse(jinja("{% if %}"), "chat_template.jinja: ");
  await refuse(config("{{ 'open }}"), "Cannot use the chat template in ");
  await refuse({ "chat_template.json": '{"chat_template": 7}' }, "chat_template.json: field");
  await refuse(config(7), 'tokenizer_config.json: field "chat_template" is 7');
});

Deno.test("ChatTemplate.render() turns raise_exception into the client's error", async () => {
  await withTemplate(jinja("{{ raise_exception('no ' + messages[0].role) }}"), async (template) => {
    const error = await assertRejects(() => template.render([user("a")]), RequestError, "no user");
    assertEquals(error.data, {
      status: 400,
      type: "invalid_request_error",
      code: "chat_template_raised",
      message: "The model's chat template refuses the messages: no user",
      param: "messages",
    });
  });
});

Deno.test("ChatTemplate.render() outlives templates that are endless, huge or broken", async () => {
  const source = "{% set c = messages[0].content %}" +
    "{% if c == 'long' %}{% for i in range(20000000) %}x{% endfor %}{% endif %}" +
    "{% if c == 'slow' %}{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}" +
    "{% endfor %}{% endif %}" +
    "{% if c == 'huge' %}{% for i in range(9999) %}{{ c }}{% endfor %}{% endif %}" +
    "{% if c == 'broken' %}{{ 1 + gone.gone }}{% endif %}ok";
  await withTemplate(jinja(source), async (template) => {
    const contents = ["long", "a", "slow", "b", "huge", "c", "broken", "d"];
    const results = await Promise.allSettled(
      contents.map((content) => template.render([user(content)])),
    );
    const shown = results.map((result) =>
      result.status === "fulfilled" ? result.value : (result.reason as RequestError).data.code
    );
    const [limit, failed] = ["chat_template_limit", "chat_template_failed"];
    assertEquals(shown, [limit, "ok", limit, "ok", limit, "ok", failed, "ok"]);
  }, { deadlineMs: 200, maxChars: 10_000 });
});

Deno.test("ChatTemplate.render() shows the template the time it is given", async () => {
  const now = () => new Date(2025, 11, 24, 18).getTime();
  await withTemplate(jinja("{{ strftime_now('%d %B %Y') }}"), async (template) => {
    assertEquals(await template.render([]), "24 December 2025");
  }, { now });
});

Deno.test("ChatTemplate.render() leaves the final message open to be continued", async () => {
  const messages = [user("Hi"), assistant("I think ")];
  const options = { continueFinalMessage: true };
  await withTemplate(jinja(SIMPLE), async (template) => {
    assertEquals(await template.render(messages, options), "<s>[user]Hi</s>[assistant]I think ");
    // The content occurs again in what follows it.
    const short = [user("Hi"), assistant("s")];
    assertEquals(await template.render(short, options), "<s>[user]Hi</s>[assistant]s");
  });
  const trimming = SIMPLE.replace("m.content", "m.content | trim");
  await withTemplate(jinja(trimming), async (template) => {
    assertEquals(await template.render(messages, options), "<s>[user]Hi</s>[assistant]I think");
  });
});

Deno.test("ChatTemplate.render() refuses continuations that make no sense", async () => {
  await withTemplate(jinja("{{ messages[0].content }}"), async (template) => {
    const continueFinalMessage = true;
    const refuse = (count: number, part: string, addGenerationPrompt = false) =>
      assertRejects(
        () =>
          template.render([user("a"), assistant("b")].slice(0, count), {
            continueFinalMessage,
            addGenerationPrompt,
          }),
        RequestError,
        part,
      );
    await refuse(2, "does not show the final message");
    await refuse(0, "messages is empty");
    await refuse(1, "cannot both be true", true);
    assertEquals(await template.render([user("a")], { continueFinalMessage }), "a");
  });
});

Deno.test("ChatTemplate.close() ends renders with an error that asks to come back", async () => {
  await withTemplate(jinja("a"), async (template) => {
    template.close();
    await assertRejects(() => template.render([]), EngineUnavailableError);
  });
});

Deno.test("templates see tools and calls, whose control tokens are text", async () => {
  const source =
    "{% for t in tools or [] %}<|t|>{{ t.function.name }}{{ t.function | tojson }}{% endfor %}" +
    "{% for m in messages %}<|m|>{{ m.role }}{{ m.content }}{% for c in m.tool_calls or [] %}" +
    "{{ c.function.name }}({{ c.function.arguments.city }}){% endfor %}{% endfor %}";
  const dir = Deno.makeTempDirSync({ prefix: "quire-template-" });
  try {
    Deno.writeTextFileSync(`${dir}/chat_template.jinja`, source);
    const controlTokens = ["<|t|>", "<|m|>"];
    const template = await ChatTemplate.load(dir, { ...TOKENS, controlTokens });
    const call = { function: { name: "f", arguments: { city: "<|m|>Rome" } } };
    const messages = [
      { role: "assistant", content: "", tool_calls: [call] },
      { role: "tool", content: "<|t|>", tool_call_id: "1" },
    ];
    const tools = [{ type: "function", function: { name: "f", description: "a <|t|>" } }];
    const plain = await template.render(messages, { tools });
    assertEquals(
      plain,
      '<|t|>f{"name": "f", "description": "a <|t|>"}<|m|>assistantf(<|m|>Rome)<|m|>tool<|t|>',
    );
    const { text } = await template.renderMasked(messages, { tools });
    const numOf = (token: string) => text.split(token).length - 1;
    assertEquals([numOf("<|t|>"), numOf("<|m|>")], [1, 2], "only the template's own are left");
    assertEquals(await template.render([{ role: "user", content: "x" }]), "<|m|>userx");
    template.close();
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
