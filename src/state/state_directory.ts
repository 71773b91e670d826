import { type Environment, processEnvironment } from "../core/environment.ts";

/**
 * The folder for what Quire itself remembers on this machine, by the platform's custom; undefined
 * where the environment names none.
 */
export function stateDirectory(
  env: Environment,
  os: typeof Deno.build.os = Deno.build.os,
): string | undefined {
  if (os === "windows") return below(env.LOCALAPPDATA, "\\quire");
  // The XDG Base Directory Specification: a relative path there is to be ignored.
  if (env.XDG_STATE_HOME?.startsWith("/")) return below(env.XDG_STATE_HOME, "/quire");
  return below(env.HOME, "/.local/state/quire");
}

/** The {@link stateDirectory} of this process, as far as it may read its environment. */
export function currentStateDirectory(): string | undefined {
  return stateDirectory(processEnvironment());
}

function below(folder: string | undefined, rest: string): string | undefined {
  return folder === undefined || folder === "" ? undefined : folder.replace(/[\\/]+$/, "") + rest;
}
