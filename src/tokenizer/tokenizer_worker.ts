/**
 * Tokenizes long texts and detokenizes long runs of ids, away from the isolate that answers
 * requests. It loads a tokenizer of its own: strings and ids cross between isolates, objects do
 * not.
 */
import type { ModelFiles } from "../core/model_json.ts";
import { runTextTask, type TextOutcome, type TextTask } from "./text_tasks.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
import type { FromWorker, ToWorker, WorkerScope } from "./worker_messages.ts";

/** `load` are the model's files. */
const scope = self as unknown as WorkerScope<ModelFiles, TextTask, TextOutcome>;

let tokenizer: Tokenizer | undefined;

function answer(message: ToWorker<ModelFiles, TextTask>): FromWorker<TextOutcome> {
  if (message.type === "load") {
    try {
      tokenizer = loadTokenizer(message.load);
      return { type: "loaded" };
    } catch (error) {
      return { type: "refused", message: (error as Error).message };
    }
  }
  // The host sends "load" first and waits for its answer.
  return { type: "done", outcome: runTextTask(tokenizer!, message.request) };
}

scope.onmessage = ({ data }) => {
  const message = answer(data);
  const isEncoded = message.type === "done" && message.outcome.type === "encoded";
  const moved = isEncoded ? message.outcome.ids.map(({ buffer }) => buffer) : [];
  scope.postMessage(message, moved);
};
