import { parentPort } from "node:worker_threads";
import { invariant } from "../base/invariant.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { TokenMatchers } from "../core/token_matcher.ts";
import { EngineSession, type StartRunner } from "./engine_session.ts";
import type { ToEngine } from "./messages.ts";

/**
 * Makes this thread an engine isolate that runs models started by `startRunner`; `matchers` follow
 * sequences through grammars.
 */
export function serveIsolate(startRunner: StartRunner, matchers?: TokenMatchers): void {
  const port = parentPort;
  invariant(port !== null, "an engine isolate outside a thread of node:worker_threads");
  const session = new EngineSession({
    startRunner,
    ...omitUndefined({ matchers }),
    post: (message) => port.postMessage(message),
    // deno-lint-ignore no-console -- a stack for the operator, since the isolate ends now
    reportBug: (error) => console.error(error),
  });
  port.on("message", (message: ToEngine) => session.receive(message));
}
