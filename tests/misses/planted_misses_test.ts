import { assert, assertEquals } from "@std/assert";
import { MISS_CAUSES, type MissCause } from "../../src/core/miss_report.ts";
import { MissWatch } from "../../src/misses/miss_watch.ts";
import { SeededRandom } from "../../src/base/seeded_random.ts";
import { loadTextService, type TextService } from "../../src/tokenizer/text_service.ts";
import { testServer } from "../http/server.ts";
import { CHAT_APIS, type ChatApi, explained, type Talk } from "../support/chat_caller.ts";
import type { ExplainedPrompt } from "../support/explain_format.ts";
import { ModelledCacheEngine } from "../support/modelled_cache_engine.ts";
import { type Plant, Planter, type TemplateTraits } from "../support/planted_misses.ts";
import { runs } from "../support/runs.ts";

const DEMO_DIR = new URL("../../models/demo/", import.meta.url);
const TEMPLATES = new URL("../../../shared/data/chat-templates/", import.meta.url);
/** Plants over all templates and causes. */
const NUM_PLANTS = 240;
/** Share of them that has to be named rightly. */
const MIN_SHARE = 0.95;

/** Tools in front, thoughts of the last turn kept, and a variable that is read at the beginning. */
const OWN_TEMPLATE = `
{%- set ns = namespace(last=0) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- if messages[0].role == 'system' or tools %}{{ '<|im_start|>system\n' }}
{%- if thinking is defined and thinking %}{{ 'Think first.\n' }}{% endif %}
{%- if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}
{%- if tools %}{{ '\nTools:' }}{% for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}{% endif %}
{{- '<|im_end|>\n' }}{% endif %}
{%- for m in messages %}{% if m.role != 'system' %}{{ '<|im_start|>' + m.role + '\n' }}
{%- if m.reasoning_content and loop.index0 > ns.last %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}
{{- m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`;

/** Templates with what they can be asked for; those of models where they are there. */
const ALL_TEMPLATES: Readonly<Record<string, TemplateTraits>> = {
  own: { hasTools: true, hasThoughts: true, hasVariable: true, isStable: true },
  demo: { hasTools: false, hasThoughts: false, hasVariable: false, isStable: true },
  "Qwen-Qwen3-0.6B": { hasTools: true, hasThoughts: true, hasVariable: false, isStable: true },
  "Qwen-Qwen2.5-7B-Instruct": {
    ...{ hasTools: true, hasThoughts: false, hasVariable: false, isStable: true },
  },
  "meta-llama-Llama-3.2-3B-Instruct": {
    ...{ hasTools: true, hasThoughts: false, hasVariable: false, isStable: true },
  },
  "ibm-granite-granite-3.3-2B-Instruct": {
    ...{ hasTools: true, hasThoughts: false, hasVariable: false, isStable: true },
  },
  // Writes the system prompt into the last message of the user.
  "mistralai-Mistral-Nemo-Instruct-2407": {
    ...{ hasTools: false, hasThoughts: false, hasVariable: false, isStable: false },
  },
};

async function textWith(template: string): Promise<TextService | undefined> {
  const read = (name: string) => Deno.readTextFileSync(new URL(name, DEMO_DIR));
  const names = [
    "tokenizer.json",
    "tokenizer_config.json",
    "config.json",
    "generation_config.json",
  ];
  const texts = Object.fromEntries(names.map((name) => [name, read(name)]));
  if (template !== "demo") {
    try {
      texts["chat_template.jinja"] = template === "own"
        ? OWN_TEMPLATE
        : Deno.readTextFileSync(new URL(`${template}.jinja`, TEMPLATES));
    } catch {
      // deno-lint-ignore no-console -- a skip must say why
      console.warn(`skipped: ../shared/data/chat-templates/${template}.jinja is absent`);
      return undefined;
    }
  }
  return await loadTextService({ path: "demo", texts }, { now: () => Date.UTC(2026, 1, 3) });
}

/** The app over the tokenizer of the demo and a template. */
function serverWith(text: TextService) {
  const engine = new ModelledCacheEngine(text.vocabSize);
  const base = testServer({ engine });
  const server = testServer({
    engine,
    text,
    metrics: base.services.metrics,
    model: {
      ...base.services.model,
      maxCharsPerToken: text.maxCharsPerToken,
      templateVariables: ["thinking", "enable_thinking"],
      thinking: { begin: "<think>", end: "</think>" },
    },
    misses: new MissWatch({
      maxBytes: 2 ** 22,
      isCaching: true,
      textOf: (ids) => {
        const detokenizer = text.createDetokenizer({ skipSpecialTokens: false });
        return detokenizer.push([...ids]) + detokenizer.flush();
      },
      hasPartialCaches: () => false,
      onCause: (cause) => base.services.metrics.observeMiss(cause),
    }),
  });
  return { server, engine };
}

/** Tokens of an answer: as its text is encoded, or cut into pieces that are encoded one by one. */
async function drawn(text: TextService, { answer, isOddlyDrawn }: Plant): Promise<number[]> {
  const pieces = isOddlyDrawn === true ? answer.match(/.{1,3}/gs)! : [answer];
  const ids = await text.encode(pieces, { addSpecialTokens: false, parseSpecial: false });
  return [...ids.flatMap((some) => [...some]), text.eosTokenIds[0]!];
}

/** Which API a plant goes through: OpenAI's for what others cannot say. */
function apiFor({ cause, first, second }: Plant, number: number): ChatApi {
  if (cause === "prompt_read") return "chat";
  const isSpecial = [first, second].some(({ tools, fields, messages }) =>
    tools !== undefined || fields !== undefined ||
    messages.some(({ reasoning_content }) => reasoning_content !== undefined)
  );
  const all = isSpecial ? CHAT_APIS.slice(0, 2) : CHAT_APIS;
  return all[number % all.length]!;
}

interface Outcome {
  readonly plant: Plant;
  readonly told: ExplainedPrompt;
  readonly template: string;
}

async function play(
  plant: Plant,
  { server, engine }: ReturnType<typeof serverWith>,
  text: TextService,
  api: ChatApi,
): Promise<ExplainedPrompt> {
  const ids = await drawn(text, plant);
  engine.script = () => ids;
  const before = await explained(server, plant.first, api);
  assert(before.cached_tokens <= before.prompt_tokens);
  const firstPrompt = engine.sequences[0]!.prompt;
  if (plant.event === "evict") engine.evictAll(true);
  else if (plant.event === "evict_long_ago") engine.evictAll(false);
  else if (plant.event === "reset") engine.resetCache();
  else if (plant.event === "restart") engine.restart();
  else if (plant.event === "lose") engine.lose();
  const told = await explained(server, plant.second, api);
  await checkTexts(told, [...firstPrompt, ...ids], [...engine.sequences[0]!.prompt], text, plant);
  return told;
}

/** Where a conversation goes on, position and texts are those of the first token that differs. */
async function checkTexts(
  { divergence }: ExplainedPrompt,
  old: readonly number[],
  now: readonly number[],
  text: TextService,
  { first, second }: Plant,
): Promise<void> {
  const goesOn = second.messages.some(({ content }) => content === first.messages.at(-1)!.content);
  if (divergence === undefined || !goesOn) return;
  const { position } = divergence;
  const at = now.findIndex((id, i) => old[i] !== id);
  assertEquals(position, at);
  const shown = await text.decode([now.slice(0, at), old.slice(at), now.slice(at)]);
  const [shared, behindOld, behindNew] = shown as [string, string, string];
  const whole = (part: string) => part.replace(/^\ufffd+|\ufffd+$/g, "");
  assert(shared.endsWith(whole(divergence.before)), `before: ${divergence.before}`);
  assert(behindOld.startsWith(whole(divergence.old)), `old: ${divergence.old}`);
  assert(behindNew.startsWith(whole(divergence.new)), `new: ${divergence.new}`);
}

/** Prompts of less than a block, which no plan of the planter makes. */
const TOO_SHORT: Talk = { system: undefined, messages: [{ role: "user", content: "Hi" }] };

Deno.test({
  name: "of 240 planted divergences at least 95 % are named rightly, by every API",
  fn: async () => {
    const causes = (Object.keys(MISS_CAUSES) as MissCause[])
      .filter((cause) => !["not_kept", "too_short", "cache_off"].includes(cause));
    const outcomes: Outcome[] = [];
    const perTemplate = Math.ceil(runs(NUM_PLANTS) / Object.keys(ALL_TEMPLATES).length);
    for (const [template, traits] of Object.entries(ALL_TEMPLATES)) {
      const text = await textWith(template);
      if (text === undefined) continue;
      try {
        const over = serverWith(text);
        const planter = new Planter(new SeededRandom(outcomes.length + 5));
        let numPlayed = 0;
        for (let i = 0; numPlayed < perTemplate || (template === "own" && i < causes.length); i++) {
          const plant = planter.plant(causes[i % causes.length]!, traits);
          if (plant === undefined) continue;
          const told = await play(plant, over, text, apiFor(plant, i));
          outcomes.push({ plant, told, template });
          numPlayed++;
        }
        if (template === "own") {
          const told = await explained(over.server, TOO_SHORT);
          assertEquals([told.cause, told.cached_tokens], ["too_short", 0]);
        }
        await checkMetrics(over.server, outcomes.filter((one) => one.template === template));
      } finally {
        text.close();
      }
    }
    const wrong = outcomes.filter(({ plant, told }) => plant.cause !== told.cause);
    const misplaced = outcomes.filter(({ plant: { message, field }, told: { divergence } }) =>
      divergence !== undefined &&
      ((message !== undefined && divergence.message !== undefined &&
        divergence.message !== message) ||
        (field !== undefined && divergence.field !== field))
    );
    const numTemplates = new Set(outcomes.map(({ template }) => template)).size;
    assert(outcomes.length >= numTemplates * perTemplate, `${outcomes.length} outcomes`);
    const share = 1 - wrong.length / outcomes.length;
    const list = (some: Outcome[]) =>
      some.map(({ plant, told, template }) =>
        `${template}: ${plant.cause} ${plant.message ?? ""} as ${JSON.stringify(told)}`
      ).join("\n");
    assert(share >= MIN_SHARE, `${share} of ${outcomes.length}:\n${list(wrong)}`);
    assert(misplaced.length <= (1 - MIN_SHARE) * outcomes.length, list(misplaced));
    assertEquals(new Set(outcomes.map(({ plant: { cause } }) => cause)), new Set(causes));
  },
});

/** Each cause that was told is counted, once per prompt. */
async function checkMetrics(
  { request }: ReturnType<typeof serverWith>["server"],
  outcomes: readonly Outcome[],
): Promise<void> {
  const text = await (await request("/metrics")).text();
  for (const cause of new Set(outcomes.flatMap(({ told }) => told.cause ?? []))) {
    const line = new RegExp(
      `^quire:prefix_cache_misses_total\\{cause="${cause}",.*\\} (\\d+)$`,
      "m",
    );
    const told = outcomes.filter((one) => one.told.cause === cause).length;
    assert(Number(line.exec(text)?.[1]) >= told, `${cause} is told ${told} times`);
  }
}
