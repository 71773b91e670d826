/**
 * Prints the state directory of this user, for the permissions of `deno task start`. Where there is
 * none, nothing is stored, and the folder that is printed is never made.
 */
import { currentStateDirectory } from "./state_directory.ts";

// deno-lint-ignore no-console -- the task reads it
console.log(currentStateDirectory() ?? "no-state-directory");
