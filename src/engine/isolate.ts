/// <reference lib="deno.worker" />
import { EngineSession, type StartRunner } from "./engine_session.ts";
import type { ToEngine } from "./messages.ts";

/** Makes this Worker an engine isolate that runs models started by `startRunner`. */
export function serveIsolate(startRunner: StartRunner): void {
  const session = new EngineSession({
    startRunner,
    post: (message) => self.postMessage(message),
    // deno-lint-ignore no-console -- a stack for the operator; the isolate ends before any log could
    reportBug: (error) => console.error(error),
    close: () => self.close(),
  });
  self.onmessage = ({ data }: MessageEvent<ToEngine>) => session.receive(data);
}
