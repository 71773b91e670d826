// deno-lint-ignore-file no-console -- what the terminal shows of a server is written here
import type { Config } from "../core/config.ts";
import { engineUnavailable, StartupError } from "../core/errors.ts";
import { accessRules } from "./access_rules.ts";
import { banner } from "./banner.ts";
import { affordableConnections } from "./descriptors.ts";
import { consentOf, findModel } from "./find_model.ts";
import { readKeys } from "./keys.ts";
import { DEFAULT_BOUNDS, listen, placeOf } from "./listen.ts";
import { exitFor, ProcessEnd } from "./process_end.ts";
import { publicBindRefusal } from "./public_bind.ts";
import { lineOutput, ProgressLines } from "../terminal/progress_lines.ts";
import { createServer, type Server } from "./server.ts";
import { StartProgress } from "./start_progress.ts";
import { watchStatus } from "./status_line.ts";
import { windowAnswer } from "../window/window_answer.ts";

/** Handles requests. */
type Fetch = (request: Request) => Response | Promise<Response>;

/** `quire serve`: binds the address, starts the engine and returns when it is ready. */
export async function serve(config: Config): Promise<void> {
  const began = performance.now();
  const keys = readKeys(config);
  const maxConnections = affordableConnections(config.maxConnections);
  const start = new StartProgress();
  let answer: Fetch = (request) => starting(request, start);
  // Bound before the model is there: a busy port shows at once, and /health can say "starting".
  const bounds = { ...DEFAULT_BOUNDS, maxConnections };
  const door = await listen(config, (request) => answer(request), bounds);
  const refusal = publicBindRefusal(door.address, { ...keys, ...config });
  if (refusal !== undefined) throw new StartupError(refusal);
  const access = accessRules(config, keys, door.address);
  const end = endOf(config, door.shutdown);
  const directory = await findModel(config.model, consentOf(config));
  const lines = new ProgressLines(lineOutput(Deno.stdout));
  const server = await createServer(config, { access, directory }, {
    start,
    onProgress: (words) => end.hasBegun || lines.show(words),
    onGivenUp: (reason) => end.giveUp(reason),
  });
  // Whatever comes next begins on a line of its own, an error's words as well.
  server.ready.catch(() => {}).finally(() => lines.end());
  if (maxConnections < config.maxConnections) {
    server.log.warn("--max-connections is more than there are file descriptors for", {
      asked: config.maxConnections,
      used: maxConnections,
    });
  }
  answer = (request) => server.app.fetch(request);
  end.serves(server);
  await announce(server, { ...door, began, config, end, needsKey: keys.apiKeys.length > 0 });
}

/**
 * Serves behind a door that `deno serve` has bound; returns what answers there. Without a key, on
 * an address that other machines reach, that handler refuses every request: Deno chose the address,
 * so the user may not know it.
 */
export async function serveBound(address: Deno.Addr, config: Config): Promise<Fetch> {
  const began = performance.now();
  const start = new StartProgress();
  const keys = readKeys(config);
  // Only this machine reaches a socket in the file system.
  const hostname = "hostname" in address ? address.hostname : address.transport;
  const listensOn = hostname === "unix" ? "localhost" : hostname;
  const refusal = publicBindRefusal(listensOn, { ...keys, ...config });
  if (refusal !== undefined) {
    console.error(`error: ${refusal}. Every request is refused until then`);
    return () => unavailable(refusal, "failed");
  }
  const access = accessRules(config, keys, listensOn);
  // On a signal "deno serve" stops accepting connections, but would wait for the engine for ever,
  // and does not report when the last answer is sent: it gets the whole time for that.
  const end = endOf(config, () => new Promise(() => {}));
  const directory = await findModel(config.model, consentOf(config));
  const server = await createServer(config, { access, directory }, {
    start,
    onGivenUp: (reason) => end.giveUp(reason),
  });
  end.serves(server);
  const place = placeOf(listensOn, "port" in address ? address.port : 0);
  const needsKey = keys.apiKeys.length > 0;
  announce(server, { ...place, began, config, end, needsKey }).catch(exitFor);
  return (request) => server.app.fetch(request);
}

/** The end of the process; a signal triggers it from now on. */
function endOf(config: Config, shutdown: () => Promise<void>): ProcessEnd {
  const end = new ProcessEnd({ shutdown, deadlineMs: config.shutdownTimeout * 1000 });
  end.onSignals();
  return end;
}

/** Shows the banner as soon as the engine is ready. */
async function announce(
  { ready, modelName, stats }: Server,
  { url, place, began, config, end, needsKey }: {
    url: string;
    place: string;
    began: number;
    config: Config;
    end: ProcessEnd;
    needsKey: boolean;
  },
): Promise<void> {
  const info = await ready.catch((error) => {
    if (!end.hasBegun) throw error;
  });
  if (info === undefined || end.hasBegun) return;
  end.isReady = true;
  const seconds = (performance.now() - began) / 1000;
  const lacksDriver = config.device === "auto" && info.deviceKind === "cpu";
  const words = { url, place, modelName, seconds, lacksDriver, needsKey };
  console.log(`\n${banner(info, words)}`);
  if (Deno.stdout.isTerminal() && config.logFormat === "text") {
    watchStatus(stats, (line) => console.log(dim(line)));
  }
}

/** Fainter than the log's lines, where colours are wanted (no-color.org). */
function dim(line: string): string {
  return Deno.noColor ? line : `\x1b[2m${line}\x1b[22m`;
}

/** The answer to a request before there is an app: that the process lives, and the window. */
export function starting(request: Request, start?: StartProgress): Response {
  if (new URL(request.url).pathname === "/live") {
    return Response.json({ status: "ok", state: "starting" });
  }
  const file = request.method === "GET" ? windowAnswer(request) : undefined;
  if (file !== undefined) return file;
  return unavailable("The server is starting", "starting", start);
}

function unavailable(message: string, state: string, start?: StartProgress): Response {
  const { status, ...error } = engineUnavailable(message);
  return Response.json(
    { status: "unavailable", state, reason: message, start: start?.snapshot(), error },
    { status, headers: { "retry-after": "1" } },
  );
}
