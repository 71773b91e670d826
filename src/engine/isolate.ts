import { parentPort } from "node:worker_threads";
import { invariant } from "../base/invariant.ts";
import { EngineSession, type StartRunner } from "./engine_session.ts";
import type { ToEngine } from "./messages.ts";

/** Makes this thread an engine isolate that runs models started by `startRunner`. */
export function serveIsolate(startRunner: StartRunner): void {
  const port = parentPort;
  invariant(port !== null, "an engine isolate outside a thread of node:worker_threads");
  const session = new EngineSession({
    startRunner,
    post: (message) => port.postMessage(message),
    // deno-lint-ignore no-console -- a stack for the operator, since the isolate ends now
    reportBug: (error) => console.error(error),
  });
  port.on("message", (message: ToEngine) => session.receive(message));
}
