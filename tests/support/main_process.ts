const ROOT = new URL("../../", import.meta.url).pathname;

/** `main.ts` with a command that ends by itself, as a process whose output is watched. */
export class MainProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #pumps: Promise<unknown>;
  #listener: () => void = () => {};
  stdout = "";
  stderr = "";

  constructor(
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    permissions: readonly string[] = ["-A"],
  ) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", ...permissions, "main.ts", ...args],
      cwd: ROOT,
      env: { NO_COLOR: "1", QUIRE_PREFIX_STORE: "none", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const pump = async (name: "stdout" | "stderr") => {
      for await (const text of this.#child[name].pipeThrough(new TextDecoderStream())) {
        this[name] += text;
        this.#listener();
      }
    };
    this.#pumps = Promise.all([pump("stdout"), pump("stderr")]);
  }

  /** Waits until standard output or error has `text`. @throws when the process ends before. */
  async says(text: string): Promise<void> {
    const said = new Promise<void>((resolve) => {
      this.#listener = () => this.#has(text) && resolve();
      this.#listener();
    });
    const ended = this.code().then((code) => {
      if (!this.#has(text)) throw new Error(`ended with ${code}: ${this.stderr}`);
    });
    await Promise.race([said, ended]);
    ended.catch(() => {});
  }

  #has(text: string): boolean {
    return this.stdout.includes(text) || this.stderr.includes(text);
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** The exit code, once everything it printed has arrived. */
  async code(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#pumps;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.code();
  }
}
