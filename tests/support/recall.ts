import { ChatTemplate, type TemplateMessage } from "../../src/tokenizer/chat_template.ts";
import { loadTokenizer, type Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { DEMO_DIR, type DemoEngine, GREEDY_64 } from "./demo_engine.ts";

interface Case {
  readonly messages: readonly TemplateMessage[];
  readonly answer: string;
}

/**
 * Share of whole greedy answers that are exactly right, 0 to 1, by task of the evaluation set: of
 * all tasks and their 100 cases, or of one task's first `count`.
 */
export async function recallByTask(
  engine: DemoEngine,
  { only, count = Infinity }: { only?: string; count?: number } = {},
): Promise<Record<string, number>> {
  const file = new URL("../golden/demo_eval.json", import.meta.url);
  const tasks: Record<string, readonly Case[]> = JSON.parse(Deno.readTextFileSync(file)).tasks;
  const tokenizer = loadTokenizer(DEMO_DIR);
  const template = await ChatTemplate.load(DEMO_DIR, tokenizer, {});
  try {
    const shares: Record<string, number> = {};
    for (const [task, all] of Object.entries(tasks)) {
      if (only !== undefined && task !== only) continue;
      const cases = all.slice(0, count);
      const prompts: Uint32Array[] = [];
      for (const { messages } of cases) {
        const text = await template.render(messages);
        prompts.push(tokenizer.encode(text, { addSpecialTokens: false }));
      }
      const answers = await answersTo(prompts, engine, tokenizer);
      const numRight = answers.filter((answer, i) => answer === cases[i]!.answer).length;
      shares[task] = numRight / cases.length;
    }
    return shares;
  } finally {
    template.close();
  }
}

async function answersTo(
  prompts: readonly Uint32Array[],
  engine: DemoEngine,
  tokenizer: Tokenizer,
): Promise<string[]> {
  const params = { ...GREEDY_64, maxTokens: 128, stopTokenIds: tokenizer.eosTokenIds };
  const outcomes = await engine.generate(
    prompts.map((prompt) => ({ prompt: [...prompt], params })),
  );
  return outcomes.map(({ tokens }) => tokenizer.decode(tokens, { skipSpecialTokens: true }));
}
