/**
 * Quire's entry: `deno run main.ts serve`, `deno serve main.ts`, or a compiled binary.
 *
 * With a command this file runs it. Without one it exports a handler for `deno serve`.
 */
// deno-lint-ignore-file no-console -- what the terminal shows is written here
import { type Config, configHelp, parseConfig } from "./src/core/config.ts";
import { StartupError } from "./src/core/errors.ts";
import { parsePlanConfig, planHelp } from "./src/core/plan_config.ts";
import { parseTuneConfig, tuneHelp } from "./src/core/tune_config.ts";
import { TESTED_DENO_MAJOR, VERSION } from "./src/core/version.ts";
import { PRESET_NAMES } from "./src/plan/presets.ts";
import { banner } from "./src/server/banner.ts";
import { listen } from "./src/server/listen.ts";
import { planCommand } from "./src/server/plan_command.ts";
import { exitFor, ProcessEnd } from "./src/server/process_end.ts";
import { createServer, type Server } from "./src/server/server.ts";

async function serve(config: Config): Promise<void> {
  const began = performance.now();
  let answer: (request: Request) => Response | Promise<Response> = starting;
  // Bound before the model is loaded: a busy port shows at once, and /health can say "starting".
  const door = listen(config, (request) => answer(request));
  const end = endOf(config, door.shutdown);
  const server = await createServer(config, {
    onProgress: (phase) => console.log(`... ${phase}`),
    onGivenUp: (reason) => end.giveUp(reason),
  });
  answer = (request) => server.app.fetch(request);
  end.serves(server);
  await announce(server, { url: door.url, began, config, end });
}

/** The end of the process, which a signal may ask for from now on. */
function endOf(config: Config, shutdown: () => Promise<void>): ProcessEnd {
  const end = new ProcessEnd({ shutdown, deadlineMs: config.shutdownTimeout * 1000 });
  end.onSignals();
  return end;
}

async function announce(
  { ready, modelName }: Server,
  { url, began, config, end }: { url: string; began: number; config: Config; end: ProcessEnd },
): Promise<void> {
  const info = await ready.catch((error) => {
    if (!end.hasBegun) throw error;
  });
  if (info === undefined) return;
  const seconds = (performance.now() - began) / 1000;
  const lacksDriver = config.device === "auto" && info.deviceKind === "cpu";
  console.log(`\n${banner(info, { url, modelName, seconds, lacksDriver })}`);
}

function starting(): Response {
  const message = "The server is starting";
  const error = { message, type: "server_error", param: null, code: "engine_unavailable" };
  return Response.json(
    { status: "unavailable", state: "starting", reason: message, error },
    { status: 503, headers: { "retry-after": "1" } },
  );
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
  const config = parsePlanConfig(args, Deno.env.toObject());
  console.log(config === undefined ? planHelp(PRESET_NAMES) : planCommand(config));
}

async function tune(args: readonly string[]): Promise<void> {
  const config = parseTuneConfig(args, Deno.env.toObject());
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
    exitFor(error);
  }
}

/** The handler for `deno serve`, which binds the port itself. */
function handler(): Required<Deno.ServeDefaultExport> {
  let server: Promise<Server> | undefined;
  // Run directly: flags alone mean `serve`, nothing at all means help.
  const unserved = setTimeout(
    () => Deno.args.length > 0 ? runCommandLine() : console.log(configHelp()),
    200,
  );
  return {
    onListen(address) {
      clearTimeout(unserved);
      const began = performance.now();
      const host = "hostname" in address ? address.hostname : "127.0.0.1";
      server = orExit(async () => {
        const config = { ...parseConfig(Deno.args, Deno.env.toObject()), host };
        // "deno serve" closes its own door on a signal, but would wait for the engine for ever, and
        // does not say when the last answer has left: it is given the whole time for that.
        const end = endOf(config, () => new Promise(() => {}));
        const created = await createServer(config, { onGivenUp: (reason) => end.giveUp(reason) });
        end.serves(created);
        const url = "port" in address ? `http://${host}:${address.port}` : "";
        orExit(() => announce(created, { url, began, config, end }));
        return created;
      });
    },
    async fetch(request) {
      return (await server)?.app.fetch(request) ?? starting();
    },
  };
}

function runCommandLine(): Promise<void> {
  const [command, ...rest] = Deno.args;
  return orExit(() => {
    if (command === "plan") return plan(rest);
    if (command === "tune") return tune(rest);
    return run(parseConfig(Deno.args, Deno.env.toObject()));
  });
}

/** A command stands first; `deno serve main.ts --flag` has none. */
const hasCommand = /^([a-z]|--help$|-h$|--version$|-V$)/.test(Deno.args[0] ?? "");

if (import.meta.main && hasCommand) await runCommandLine();

export default (hasCommand ? {} : handler()) as Deno.ServeDefaultExport;
