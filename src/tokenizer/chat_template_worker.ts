/**
 * Renders one chat template, away from the isolate that answers requests. A template comes with a
 * model and is foreign code: it can be slow, endless or huge, but it cannot reach the runtime
 * through Jinja.
 */
import {
  type ConversationOutcome,
  ConversationRenderer,
  type RenderRequest,
  type TemplateSource,
} from "./conversation_renderer.ts";
import type { FromWorker, ToWorker, WorkerScope } from "./worker_messages.ts";

const scope = self as unknown as WorkerScope<TemplateSource, RenderRequest, ConversationOutcome>;

let conversation: ConversationRenderer | undefined;

function answer(
  message: ToWorker<TemplateSource, RenderRequest>,
): FromWorker<ConversationOutcome> {
  if (message.type === "load") {
    try {
      conversation = new ConversationRenderer(message.load);
      return { type: "loaded" };
    } catch (error) {
      return { type: "refused", message: (error as Error).message };
    }
  }
  // The host sends "load" first and waits for its answer.
  return { type: "done", outcome: conversation!.render(message.request) };
}

scope.onmessage = ({ data }) => scope.postMessage(answer(data));
