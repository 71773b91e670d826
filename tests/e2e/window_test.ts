import { assert } from "@std/assert";
import { BROWSERS, findBrowser } from "../support/find_browser.ts";
import { freePort, ServerProcess } from "../support/server_process.ts";

const FOLDER = new URL("../browser/", import.meta.url).pathname;
const UNSANITIZED = { sanitizeOps: false, sanitizeResources: false };
const browser = findBrowser();
const reason = browser === undefined ? `skipped, since there is no ${BROWSERS[0]}` : "";

Deno.test({
  name: `the window works in a browser, from the first moment of a start${reason && `: ${reason}`}`,
  ignore: browser === undefined,
  ...UNSANITIZED,
  async fn(t) {
    const port = freePort();
    const args = ["run", "-A", "--no-check", "main.ts", `http://127.0.0.1:${port}`, browser!];
    // Asked as soon as the port is bound, so while the model loads.
    const server = await ServerProcess.startUnready("run", port, ["--log-level", "warn"]);
    const pipes = { stdout: "piped", stderr: "piped" } as const;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args,
      cwd: FOLDER,
      ...pipes,
    }).output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    const lines = decode(stdout).split("\n").filter((line) => line.startsWith("{"));
    for (const { name, error } of lines.map((line) => JSON.parse(line))) {
      await t.step({ name, ...UNSANITIZED, fn: () => assert(error === undefined, error) });
    }
    assert(lines.length >= 20, `${lines.length} scenarios:\n${decode(stderr)}`);
    await server.stop();
  },
});
