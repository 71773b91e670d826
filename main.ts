/**
 * Quire's entry: `deno run main.ts serve`, `deno serve main.ts`, or a compiled binary.
 *
 * With a command this file runs it. Without one it exports a handler for `deno serve`.
 */
// deno-lint-ignore-file no-console -- what the terminal shows is written here
import { COMMAND_TABLE, serveModel } from "./src/commands/command_table.ts";
import { helpOn } from "./src/commands/help_topics.ts";
import type { CommandName } from "./src/core/command_names.ts";
import { parseConfig } from "./src/core/config.ts";
import { processEnvironment } from "./src/core/environment.ts";
import { StartupError } from "./src/core/errors.ts";
import { TESTED_DENO_MAJOR, VERSION } from "./src/core/version.ts";
import { exitFor } from "./src/server/process_end.ts";

/** A mistake the user can put right is one sentence; anything else keeps its stack. */
async function orExit<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    // The doctor says so itself, beside what else there is.
    if (
      Number(Deno.version.deno.split(".")[0]) !== TESTED_DENO_MAJOR && Deno.args[0] !== "doctor"
    ) {
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
  const serving = () => import("./src/server/serve.ts");
  let answer: Promise<(request: Request) => Response | Promise<Response>> | undefined;
  // `deno serve` calls `onListen` at once. If it has not after 200 ms, `deno run` runs this file:
  // then flags alone mean `serve`, and nothing at all means help.
  const directRun = setTimeout(
    () => Deno.args.length > 0 ? runCommandLine() : console.log(helpOn(undefined)),
    200,
  );
  return {
    onListen(address) {
      clearTimeout(directRun);
      answer = orExit(async () => {
        const config = parseConfig(Deno.args, processEnvironment());
        return (await serving()).serveBound(address, config);
      });
    },
    fetch: async (request) => (await answer)?.(request) ?? (await serving()).starting(request),
  };
}

/** Runs the command that stands first; flags alone, or one that there is not, are `serve`'s. */
function runCommandLine(): Promise<void> {
  const [first = "", ...rest] = Deno.args;
  return orExit(() => {
    const name = nameOf(first);
    if (!Object.hasOwn(COMMAND_TABLE, name)) return serveModel(Deno.args);
    return COMMAND_TABLE[name as CommandName](rest);
  });
}

function nameOf(first: string): string {
  if (first === "--help" || first === "-h") return "help";
  return first === "--version" || first === "-V" ? "version" : first;
}

/** A command stands first; `deno serve main.ts --flag` has none. */
const hasCommand = /^([a-z]|--help$|-h$|--version$|-V$)/.test(Deno.args[0] ?? "");

if (import.meta.main && hasCommand) await runCommandLine();

export default (hasCommand ? {} : handler()) as Deno.ServeDefaultExport;
