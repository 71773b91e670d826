/**
 * Quire's entry: `deno run main.ts serve`, `deno serve main.ts`, or a compiled binary.
 *
 * With a command this file runs it. Without one it exports a handler for `deno serve`.
 */
// deno-lint-ignore-file no-console -- what the terminal shows is written here
import { type Config, configHelp, parseConfig } from "./src/core/config.ts";
import { processEnvironment } from "./src/core/environment.ts";
import { StartupError } from "./src/core/errors.ts";
import { parsePlanConfig, planHelp } from "./src/core/plan_config.ts";
import { parseTuneConfig, tuneHelp } from "./src/core/tune_config.ts";
import { TESTED_DENO_MAJOR, VERSION } from "./src/core/version.ts";
import { PRESET_NAMES } from "./src/plan/presets.ts";
import { banner } from "./src/server/banner.ts";
import { affordableConnections } from "./src/server/descriptors.ts";
import { readKeys } from "./src/server/keys.ts";
import { DEFAULT_BOUNDS, listen, placeOf } from "./src/server/listen.ts";
import { planCommand } from "./src/server/plan_command.ts";
import { publicBindRefusal } from "./src/server/public_bind.ts";
import { createServer, type Server } from "./src/server/server.ts";

async function serve(config: Config): Promise<void> {
  const began = performance.now();
  const keys = readKeys(config);
  const maxConnections = affordableConnections(config.maxConnections);
  let answer: (request: Request) => Response | Promise<Response> = starting;
  // Bound before the model is loaded: a busy port shows at once, and /health can say "starting".
  const door = await listen(config, (request) => answer(request), {
    ...DEFAULT_BOUNDS,
    maxConnections,
  });
  const refusal = publicBindRefusal(door.address, { ...keys, ...config });
  if (refusal !== undefined) throw new StartupError(refusal);
  const server = await createServer(config, { address: door.address, keys }, {
    onProgress: (phase) => console.log(`... ${phase}`),
  });
  if (maxConnections < config.maxConnections) {
    server.log.warn("--max-connections is more than there are file descriptors for", {
      asked: config.maxConnections,
      used: maxConnections,
    });
  }
  answer = (request) => server.app.fetch(request);
  stopOnSignals(server, door.shutdown, config.shutdownTimeout * 1000);
  await announce(server, { ...door, began, config, asksForKey: keys.apiKeys.length > 0 });
}

async function announce(
  { ready, modelName }: Server,
  { url, place, began, config, asksForKey }: {
    url: string;
    place: string;
    began: number;
    config: Config;
    asksForKey: boolean;
  },
): Promise<void> {
  const info = await ready;
  const seconds = (performance.now() - began) / 1000;
  const lacksDriver = config.device === "auto" && info.deviceKind === "cpu";
  const words = { url, place, modelName, seconds, lacksDriver, asksForKey };
  console.log(`\n${banner(info, words)}`);
}

function starting(): Response {
  return unavailable("The server is starting");
}

function unavailable(message: string): Response {
  const error = { message, type: "server_error", param: null, code: null };
  return Response.json({ error }, { status: 503, headers: { "retry-after": "1" } });
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The first signal lets running streams finish within the deadline, the second ends at once. */
function stopOnSignals(server: Server, shutdown: () => Promise<void>, deadlineMs: number): void {
  let stopping = false;
  const stop = async () => {
    if (stopping) Deno.exit(130);
    stopping = true;
    console.log(`\nStopping: running requests have ${deadlineMs / 1000} s to finish`);
    const closed = shutdown();
    await server.stop(deadlineMs);
    await Promise.race([closed, after(1000)]);
    Deno.exit(0);
  };
  Deno.addSignalListener("SIGINT", stop);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", stop);
}

async function run(config: Config): Promise<void> {
  switch (config.command) {
    case "help":
      return console.log(configHelp());
    case "version":
      return console.log(VERSION);
    case "serve":
      return await serve(config);
  }
}

function plan(args: readonly string[]): void {
  const config = parsePlanConfig(args, processEnvironment());
  console.log(config === undefined ? planHelp(PRESET_NAMES) : planCommand(config));
}

async function tune(args: readonly string[]): Promise<void> {
  const config = parseTuneConfig(args, processEnvironment());
  if (config === undefined) return console.log(tuneHelp());
  // Loaded when asked for: a server's main isolate needs no kernels.
  const { tuneCommand } = await import("./src/server/tune_command.ts");
  console.log(await tuneCommand(config, (words) => console.error(`... ${words}`)));
  Deno.exit(0);
}

/** A mistake the user can put right is one sentence; anything else keeps its stack. */
async function orExit<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    if (Number(Deno.version.deno.split(".")[0]) !== TESTED_DENO_MAJOR) {
      throw new StartupError(
        `Quire ${VERSION} is tested on Deno ${TESTED_DENO_MAJOR}, this is ${Deno.version.deno}; ` +
          `"npx deno@${TESTED_DENO_MAJOR}" runs the tested one`,
      );
    }
    return await work();
  } catch (error) {
    console.error(error instanceof StartupError ? `error: ${error.message}` : error);
    Deno.exit(1);
  }
}

/** What `deno serve` has bound, once it says so. */
interface Served {
  readonly server?: Server;
  /** Why it must not answer; then there is no server. */
  readonly refusal?: string;
}

async function serveBound(address: Deno.Addr, began: number): Promise<Served> {
  const config = parseConfig(Deno.args, processEnvironment());
  const keys = readKeys(config);
  // A socket in the file system is this machine's own.
  const hostname = "hostname" in address ? address.hostname : address.transport;
  const listensOn = hostname === "unix" ? "localhost" : hostname;
  const port = "port" in address ? address.port : 0;
  const refusal = publicBindRefusal(listensOn, { ...keys, ...config });
  if (refusal !== undefined) {
    console.error(`error: ${refusal}. Every request is refused until then`);
    return { refusal };
  }
  const server = await createServer(config, { address: listensOn, keys });
  const { url, place } = placeOf(listensOn, port);
  // "deno serve" closes its own door on a signal, but would wait for the engine for ever.
  stopOnSignals(server, () => Promise.resolve(), config.shutdownTimeout * 1000);
  orExit(() =>
    announce(server, { url, place, began, config, asksForKey: keys.apiKeys.length > 0 })
  );
  return { server };
}

/** The handler for `deno serve`, which binds the port itself. */
function handler(): Required<Deno.ServeDefaultExport> {
  let served: Promise<Served> | undefined;
  // Run directly: flags alone mean `serve`, nothing at all means help.
  const unserved = setTimeout(
    () => Deno.args.length > 0 ? runCommandLine() : console.log(configHelp()),
    200,
  );
  return {
    onListen(address) {
      clearTimeout(unserved);
      const began = performance.now();
      served = orExit(() => serveBound(address, began));
    },
    async fetch(request) {
      const { server, refusal } = await served ?? {};
      if (refusal !== undefined) return unavailable(refusal);
      return server?.app.fetch(request) ?? unavailable("The server is starting");
    },
  };
}

function runCommandLine(): Promise<void> {
  const [command, ...rest] = Deno.args;
  return orExit(() => {
    if (command === "plan") return plan(rest);
    if (command === "tune") return tune(rest);
    return run(parseConfig(Deno.args, processEnvironment()));
  });
}

/** A command stands first; `deno serve main.ts --flag` has none. */
const hasCommand = /^([a-z]|--help$|-h$|--version$|-V$)/.test(Deno.args[0] ?? "");

if (import.meta.main && hasCommand) await runCommandLine();

export default (hasCommand ? {} : handler()) as Deno.ServeDefaultExport;
