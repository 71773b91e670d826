// deno-lint-ignore-file no-console -- a program that reports line by line
import { CHAT } from "./chat_scenarios.ts";
import { LOOK } from "./look_scenarios.ts";
import { MACHINE } from "./machine_scenarios.ts";
import { Rig } from "./rig.ts";

/**
 * Runs the scenarios in a browser against the server at a URL: `main.ts URL CHROMIUM [WORDS]`, those
 * whose names have these words. Prints a line of JSON for each: what went wrong.
 */
const [url, chromium, words = ""] = Deno.args;
const rig = await Rig.open(url!, chromium!);
for (const [name, run] of [...CHAT, ...LOOK, ...MACHINE].filter(([name]) => name.includes(words))) {
  let error: string | undefined;
  try {
    await run(rig);
  } catch (cause) {
    error = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
  }
  console.log(JSON.stringify({ name, error }));
}
await rig.close();
Deno.exit(0);
