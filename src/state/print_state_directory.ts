/**
 * Prints the state directory of this user, for the permissions of `deno task start`. Where there is none,
 * nothing is stored, and what is printed stands for a folder that nobody makes.
 */
import { currentStateDirectory } from "./state_directory.ts";

// deno-lint-ignore no-console -- the task reads it
console.log(currentStateDirectory() ?? "no-state-directory");
