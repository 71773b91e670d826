/**
 * The app over an engine that fails on demand, as a process of its own: flags are the numbers of
 * `--max-engine-failures` and of the port.
 */
// deno-lint-ignore-file no-console -- the parent reads where it listens
import { listen } from "../../src/server/listen.ts";
import { ProcessEnd } from "../../src/server/process_end.ts";
import { faultServer } from "./fault_rig.ts";

const [maxNumFailures, port] = Deno.args.map(Number);
const { client, server, start } = faultServer({
  restart: { maxNumFailures: maxNumFailures!, initialDelayMs: 100 },
  onFailure: ({ reason, state }) => {
    console.log(`${state}: ${reason}`);
    if (state === "failed") end.giveUp(reason);
  },
});
const door = await listen({ host: "127.0.0.1", port: port! }, server.app.fetch);
const end = new ProcessEnd({ shutdown: () => door.shutdown(), deadlineMs: 30_000 });
end.serves({ stop: (deadlineMs) => client.drain(deadlineMs) });
end.onSignals();
await start();
end.isReady = true;
console.log(`Ready ${door.url}`);
