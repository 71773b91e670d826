const ROOT = new URL("../../", import.meta.url).pathname;
const DRIVER = new URL("./pseudo_terminal.py", import.meta.url).pathname;

/** What is typed once a text has been shown. */
export interface TerminalStep {
  readonly wait: string;
  readonly send?: string;
  /** A signal's number, in place of keys. */
  readonly signal?: number;
}

/** What a program showed, and how it ended; -N for signal N. */
export interface TerminalRun {
  readonly code: number;
  readonly output: string;
}

/** Why nothing can run in a pseudo-terminal here; undefined where it can. */
export const whyNoTerminal: string | undefined = await (async () => {
  if (Deno.build.os === "windows") return "pseudo-terminals are made by python3's pty, for POSIX";
  try {
    const python = new Deno.Command("python3", { args: ["-c", "import pty"], stderr: "null" });
    if ((await python.output()).success) return undefined;
  } catch {
    // There is no python3.
  }
  return "python3 with its module pty is not installed";
})();

/**
 * Runs `main.ts` in a terminal of its own.
 *
 * @throws when a step's text is never shown.
 */
export async function runInTerminal(
  args: readonly string[],
  steps: readonly TerminalStep[],
  { columns = 80, env = {}, permissions = ["-A"] }: {
    readonly columns?: number;
    readonly env?: Readonly<Record<string, string>>;
    /** Flags of Deno; those that are missing would be asked for, at a terminal. */
    readonly permissions?: readonly string[];
  } = {},
): Promise<TerminalRun> {
  const command = [Deno.execPath(), "run", "--no-check", ...permissions, "main.ts", ...args];
  const driver = new Deno.Command("python3", {
    args: [DRIVER],
    cwd: ROOT,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const job = { command, columns, steps, env: { TERM: "xterm", ...env } };
  const writer = driver.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(job)));
  await writer.close();
  const { stdout } = await driver.output();
  const { missed, ...run } = JSON.parse(new TextDecoder().decode(stdout));
  if (missed !== null) throw new Error(`never shown: ${missed}\n${run.code}: ${run.output}`);
  return run;
}
