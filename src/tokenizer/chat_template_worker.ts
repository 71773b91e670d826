/**
 * Renders one chat template, away from the isolate that answers requests. A template comes with a
 * model and is foreign code: it can be slow, endless or huge, but it can reach nothing from here,
 * since Jinja has no way to the runtime.
 */
import type { FromRenderer, ToRenderer } from "./template_messages.ts";
import { parseTemplate, renderTemplate } from "./template_renderer.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToRenderer>) => void) | null;
  postMessage(message: FromRenderer): void;
};

let program: ReturnType<typeof parseTemplate> | undefined;

function answer(message: ToRenderer): FromRenderer {
  if (message.type === "load") {
    try {
      program = parseTemplate(message.source);
      return { type: "loaded" };
    } catch (error) {
      return { type: "refused", message: (error as Error).message };
    }
  }
  const { variables, limits, nowMs } = message.request;
  // The host sends "load" first and waits for its answer.
  return { type: "done", outcome: renderTemplate(program!, variables, limits, new Date(nowMs)) };
}

scope.onmessage = ({ data }) => scope.postMessage(answer(data));
