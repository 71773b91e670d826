import { loadTextService } from "../../src/tokenizer/text_service.ts";
import { DEMO_DIR, type DemoEngine, GREEDY_64 } from "./demo_engine.ts";

/** One held-out conversation and the answer that is right. */
interface RecallCase {
  readonly messages: readonly { role: string; content: string }[];
  readonly answer: string;
}

/** Tasks of the bundled model's evaluation set: facts so many tokens back, and tables of so many. */
export const RECALL_TASKS = ["recall_100", "recall_400", "recall_800", "table_12", "table_40"];

/**
 * Share of a task's first `count` cases, of 100, whose whole greedy answer is right to the end token,
 * 0 to 1. The prompts must fit into the engine's pool one at a time.
 */
export async function recallAccuracy(
  engine: DemoEngine,
  task: string,
  count: number,
): Promise<number> {
  const file = new URL("../golden/demo_eval.json", import.meta.url);
  const tasks: Readonly<Record<string, readonly RecallCase[]>> =
    JSON.parse(Deno.readTextFileSync(file)).tasks;
  const cases = tasks[task]!.slice(0, count);
  const text = await loadTextService(DEMO_DIR);
  try {
    const params = { ...GREEDY_64, stopTokenIds: [...text.eosTokenIds] };
    const arrivals = [];
    for (const { messages } of cases) {
      arrivals.push({ prompt: [...await text.encodeChat([...messages])], params });
    }
    const outcomes = await engine.generate(arrivals);
    const right = outcomes.filter(({ tokens, finish }, i) => {
      const detokenizer = text.createDetokenizer();
      const answer = detokenizer.push(tokens) + detokenizer.flush();
      return finish === "stop" && answer === cases[i]!.answer;
    });
    return right.length / cases.length;
  } finally {
    text.close();
  }
}
