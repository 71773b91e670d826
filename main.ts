/**
 * Quire's entry: `deno run main.ts serve`, `deno serve main.ts`, or a compiled binary.
 *
 * With a command this file runs it. Without one it exports a handler for `deno serve`.
 */
// deno-lint-ignore-file no-console -- what the terminal shows is written here
import { type Config, configHelp, parseConfig } from "./src/core/config.ts";
import { processEnvironment } from "./src/core/environment.ts";
import { StartupError } from "./src/core/errors.ts";
import {
  modelsHelp,
  parseModelsConfig,
  parsePullConfig,
  parseRemoveConfig,
  pullHelp,
  removeHelp,
} from "./src/core/hub_config.ts";
import { parsePlanConfig, planHelp } from "./src/core/plan_config.ts";
import { parseTuneConfig, tuneHelp } from "./src/core/tune_config.ts";
import { TESTED_DENO_MAJOR, VERSION } from "./src/core/version.ts";
import { PRESET_NAMES } from "./src/plan/presets.ts";
import { findConfig } from "./src/server/find_model.ts";
import { modelsCommand } from "./src/server/models_command.ts";
import { planCommand } from "./src/server/plan_command.ts";
import { exitFor } from "./src/server/process_end.ts";
import { pullCommand } from "./src/server/pull_command.ts";
import { removeCommand } from "./src/server/remove_command.ts";
import { serve, serveBound, starting } from "./src/server/serve.ts";

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

async function plan(args: readonly string[]): Promise<void> {
  const config = parsePlanConfig(args, processEnvironment());
  if (config === undefined) return console.log(planHelp(PRESET_NAMES));
  const named = config.model === undefined ? undefined : await findConfig(config.model);
  console.log(planCommand(config, named));
}

async function tune(args: readonly string[]): Promise<void> {
  const config = parseTuneConfig(args, processEnvironment());
  if (config === undefined) return console.log(tuneHelp());
  // Loaded when asked for: a server's main isolate needs no kernels.
  const { tuneCommand } = await import("./src/server/tune_command.ts");
  console.log(await tuneCommand(config, (words) => console.error(`... ${words}`)));
  Deno.exit(0);
}

async function pull(args: readonly string[]): Promise<void> {
  const config = parsePullConfig(args, processEnvironment());
  console.log(config === undefined ? pullHelp() : await pullCommand(config));
  Deno.exit(0);
}

function models(args: readonly string[]): void {
  const config = parseModelsConfig(args, processEnvironment());
  console.log(config === undefined ? modelsHelp() : modelsCommand(config));
}

function remove(args: readonly string[]): void {
  const config = parseRemoveConfig(args);
  console.log(config === undefined ? removeHelp() : removeCommand(config));
}

/** Commands with flags of their own, by name. */
const COMMANDS: ReadonlyMap<string, (args: readonly string[]) => void | Promise<void>> = new Map([
  ["plan", plan],
  ["tune", tune],
  ["pull", pull],
  ["models", models],
  ["rm", remove],
]);

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
  let answer: ReturnType<typeof serveBound> | undefined;
  // Run directly: flags alone mean `serve`, nothing at all means help.
  const unserved = setTimeout(
    () => Deno.args.length > 0 ? runCommandLine() : console.log(configHelp()),
    200,
  );
  return {
    onListen(address) {
      clearTimeout(unserved);
      answer = orExit(() => serveBound(address, parseConfig(Deno.args, processEnvironment())));
    },
    fetch: async (request) => (await answer)?.(request) ?? starting(request),
  };
}

function runCommandLine(): Promise<void> {
  const [command, ...rest] = Deno.args;
  const ofItsOwn = COMMANDS.get(command ?? "");
  return orExit(() =>
    ofItsOwn === undefined ? run(parseConfig(Deno.args, processEnvironment())) : ofItsOwn(rest)
  );
}

/** A command stands first; `deno serve main.ts --flag` has none. */
const hasCommand = /^([a-z]|--help$|-h$|--version$|-V$)/.test(Deno.args[0] ?? "");

if (import.meta.main && hasCommand) await runCommandLine();

export default (hasCommand ? {} : handler()) as Deno.ServeDefaultExport;
