import { type PeerAnswer, type PeerGreeting, type PeerTask, PROTOCOL_MARK } from "./peer_task.ts";

/** A peer in a process of its own, idle but for the task it is given. */
export class PeerProcess {
  readonly description: string;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;

  private constructor(
    child: Deno.ChildProcess,
    input: WritableStreamDefaultWriter<Uint8Array>,
    lines: AsyncGenerator<string>,
    greeting: PeerGreeting,
  ) {
    this.#child = child;
    this.#input = input;
    this.#lines = lines;
    this.description = greeting.description;
  }

  /**
   * Starts a script of this folder and waits until it is ready.
   *
   * @param options of `deno run`, before the script.
   * @throws {Error} with what the process last printed, when it ends before that.
   */
  static async start(
    script: string,
    { args, options = [], env = {} }: {
      args: readonly string[];
      options?: readonly string[];
      env?: Readonly<Record<string, string>>;
    },
  ): Promise<PeerProcess> {
    const file = new URL(script, import.meta.url);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", ...options, file.pathname, ...args],
      env: { XDG_RUNTIME_DIR: "/tmp", NO_COLOR: "1", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const lines = protocolLines(child);
    const greeting = JSON.parse(await nextLine(lines)) as PeerGreeting;
    return new PeerProcess(child, child.stdin.getWriter(), lines, greeting);
  }

  /** Has the task carried out. @throws {Error} when the process ends instead. */
  async serve(task: PeerTask): Promise<PeerAnswer> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(task)}\n`));
    return JSON.parse(await nextLine(this.#lines)) as PeerAnswer;
  }

  /** Lets the process end. */
  async close(): Promise<void> {
    await this.#input.close();
    await this.#child.status;
  }
}

async function nextLine(lines: AsyncGenerator<string>): Promise<string> {
  const { value, done } = await lines.next();
  if (done) throw new Error("the peer closed its output without an answer");
  return value;
}

/** The protocol's lines of a child; at its end throws with the end of all else it has printed. */
async function* protocolLines(child: Deno.ChildProcess): AsyncGenerator<string> {
  const errors = new Response(child.stderr).text();
  let text = "";
  let other = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const line = text.slice(0, end);
      if (line.startsWith(PROTOCOL_MARK)) yield line.slice(PROTOCOL_MARK.length);
      else other = `${other}${line}\n`.slice(-2000);
      text = text.slice(end + 1);
    }
  }
  const { code } = await child.status;
  if (code !== 0) throw new Error(`exit code ${code}\n${other}${(await errors).slice(-2000)}`);
}
