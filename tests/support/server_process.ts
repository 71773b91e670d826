import { assert } from "@std/assert";

const ROOT = new URL("../../", import.meta.url).pathname;
const READY = /^Ready +(http:\S+?)(?: \(.*\))?$/m;
const PERMISSIONS = ["--allow-net", "--allow-read", "--allow-env", "--allow-sys"];

/** A finished command line: exit code and what it printed. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function options(env: Record<string, string>) {
  return {
    cwd: ROOT,
    // What one test leaves behind must not warm the next.
    env: { NO_COLOR: "1", QUIRE_PREFIX_STORE: "none", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  } as const;
}

function command(args: readonly string[], env: Record<string, string> = {}): Deno.Command {
  return new Deno.Command(Deno.execPath(), { args: [...args], ...options(env) });
}

/** A port of 127.0.0.1 that nothing listens on. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return listener.addr.port;
}

/**
 * Runs `main.ts` with `args` to its end; for command lines that are expected to end by themselves.
 *
 * @param permissions Deno's flags; default: those of a server that stores nothing.
 */
export async function runMain(
  args: readonly string[],
  env: Record<string, string> = {},
  permissions: readonly string[] = PERMISSIONS,
): Promise<Finished> {
  const { code, stdout, stderr } = await command([
    "run",
    "--no-check",
    ...permissions,
    "main.ts",
    ...args,
  ], env).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

/** What a process has printed, and who hears of it. */
interface Output {
  text: string;
  onText: (text: string) => void;
}

function denoServe(port: number, args: readonly string[], host = "127.0.0.1"): string[] {
  const serve = ["serve", "--no-check", "--host", host, "--port", String(port)];
  return [...serve, ...PERMISSIONS, "main.ts", ...args];
}

/** The real server as a process of its own, on a free port. */
export class ServerProcess {
  #url: string;
  #child: Deno.ChildProcess;
  #output: Output;
  #pumps: Promise<unknown>;

  private constructor(
    url: string,
    child: Deno.ChildProcess,
    output: Output,
    pumps: Promise<unknown>,
  ) {
    this.#url = url;
    this.#child = child;
    this.#output = output;
    this.#pumps = pumps;
  }

  /**
   * Starts it and waits for its "Ready" line. `permissions` are Deno flags beyond the usual ones.
   */
  static start(
    args: readonly string[] = [],
    env: Record<string, string> = {},
    permissions: readonly string[] = [],
  ) {
    const run = ["run", "--no-check", ...PERMISSIONS, ...permissions, "main.ts"];
    return ServerProcess.#spawn(command([...run, "serve", "--port", "0", ...args], env), READY);
  }

  /** Starts it with these of Deno's flags alone. */
  static startAllowed(
    permissions: readonly string[],
    args: readonly string[],
    env: Record<string, string>,
  ) {
    const run = ["run", "--no-check", "--no-prompt", ...permissions, "main.ts"];
    return ServerProcess.#spawn(command([...run, "serve", "--port", "0", ...args], env), READY);
  }

  /** Starts any command line that serves; `env` is all that it sees. */
  static startCommand([file, ...args]: readonly string[], env: Record<string, string>) {
    const child = { ...options({}), args, env, clearEnv: true };
    return ServerProcess.#spawn(new Deno.Command(file!, child), READY);
  }

  /** Starts a task of `deno.json` that serves, with the permissions that it gives. */
  static startTask(
    task: string,
    args: readonly string[],
    env: Record<string, string>,
  ): Promise<ServerProcess> {
    return ServerProcess.#spawn(command(["task", task, "--port", "0", ...args], env), READY);
  }

  /**
   * Starts it under `deno serve`, which binds the port itself; `ready` tells when it can be asked.
   */
  static startByDenoServe(
    port: number,
    args: readonly string[] = [],
    { host = "127.0.0.1", ready = READY, env = {} } = {},
  ) {
    return ServerProcess.#spawn(command(denoServe(port, args, host), env), ready);
  }

  /** Starts it with `numDescriptors` file descriptors at most. */
  static startWithDescriptors(numDescriptors: number, args: readonly string[] = []) {
    const run = ["run", "--no-check", ...PERMISSIONS, "main.ts", "serve", "--port", "0", ...args];
    const shell = `ulimit -n ${numDescriptors}; exec "$0" "$@"`;
    const limited = new Deno.Command("sh", {
      ...options({}),
      args: ["-c", shell, Deno.execPath(), ...run],
    });
    return ServerProcess.#spawn(limited, READY);
  }

  /** Starts a script that serves and says "Ready" as `main.ts` does; flags of Deno come first. */
  static startScript(args: readonly string[]) {
    return ServerProcess.#spawn(command(["run", "--no-check", ...PERMISSIONS, ...args]), READY);
  }

  /** Starts it at `port`, as one or the other, and waits only until it answers at all. */
  static async startUnready(form: "run" | "serve", port: number, args: readonly string[]) {
    const run = ["run", "--no-check", ...PERMISSIONS, "main.ts", "serve", "--port", String(port)];
    const line = form === "run" ? [...run, ...args] : denoServe(port, args);
    const server = ServerProcess.#launch(command(line), `http://127.0.0.1:${port}`);
    const answers = () => server.fetch("/health").then((response) => response.body?.cancel());
    while (await answers().then(() => false, () => true)) {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    return server;
  }

  static async #spawn(command: Deno.Command, ready: RegExp): Promise<ServerProcess> {
    const server = ServerProcess.#launch(command, "");
    const url = new Promise<string>((resolve) => {
      server.#output.onText = (text) => {
        const match = ready.exec(text);
        if (match) resolve(match[1]!);
      };
    });
    const died = server.#child.status.then(({ code }) => {
      throw new Error(`the server ended with ${code}:\n${server.output}`);
    });
    died.catch(() => {});
    server.#url = await Promise.race([url, died]);
    return server;
  }

  static #launch(command: Deno.Command, url: string): ServerProcess {
    const child = command.spawn();
    const output: Output = { text: "", onText: () => {} };
    const pump = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) {
        output.text += text;
        output.onText(output.text);
      }
    };
    const pumps = Promise.all([pump(child.stdout), pump(child.stderr)]);
    return new ServerProcess(url, child, output, pumps);
  }

  /** Where it answers. */
  get url(): string {
    return this.#url;
  }

  /** Everything it has printed. */
  get output(): string {
    return this.#output.text;
  }

  /** Of the process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Sends a signal; `exitCode` tells when it has ended. */
  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async exitCode(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#pumps;
    return code;
  }

  /** Ends it at once if it still runs. */
  [Symbol.dispose](): void {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      // It has ended.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Ends it as Ctrl-C does, and checks that it ends well. */
  async stop(): Promise<void> {
    this.signal("SIGINT");
    const code = await this.exitCode();
    assert(code === 0, `the server ended with ${code}:\n${this.output}`);
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`${this.url}${path}`, init);
  }

  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return this.fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...init,
    });
  }

  /** The value of a gauge or counter without labels beyond the common ones. */
  async metric(name: string): Promise<number> {
    const text = await (await this.fetch("/metrics")).text();
    const line = text.split("\n").find((line) => line.startsWith(name));
    assert(line !== undefined, `no metric ${name}`);
    return Number(line.split(" ").at(-1));
  }

  /** Waits until nothing runs or waits and every block is free. */
  async idle(): Promise<void> {
    for (let i = 0; i < 200; i++) {
      const values = await Promise.all(
        ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"]
          .map((name) => this.metric(name)),
      );
      if (values.every((value) => value === 0)) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error("the server does not become idle: sequences or blocks are left");
  }
}

/** A server that tests of a file share: started by the first that asks, stopped after the last. */
export function sharedServer(args: readonly string[] = []): () => Promise<ServerProcess> {
  let server: Promise<ServerProcess> | undefined;
  Deno.test.afterAll(async () => await (await server)?.stop());
  return () => server ??= ServerProcess.start(args);
}
