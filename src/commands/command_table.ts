// deno-lint-ignore-file no-console -- what the terminal shows is written here
import { parseBenchConfig } from "../core/bench_config.ts";
import { parseChatConfig, parseRunConfig } from "../core/chat_config.ts";
import type { CommandName } from "../core/command_names.ts";
import { parseConfig } from "../core/config.ts";
import { parseDoctorConfig } from "../core/doctor_config.ts";
import { processEnvironment } from "../core/environment.ts";
import { parseExplainConfig } from "../core/explain_config.ts";
import { parseModelsConfig, parsePullConfig, parseRemoveConfig } from "../core/hub_config.ts";
import { parsePlanConfig } from "../core/plan_config.ts";
import { parseTuneConfig } from "../core/tune_config.ts";
import { VERSION } from "../core/version.ts";
import { EXIT_CODES } from "../server/process_end.ts";
import { lineOutput, ProgressLines } from "../terminal/progress_lines.ts";
import { styleOf } from "../terminal/style.ts";
import { completionsCommand } from "./completions.ts";
import { helpOn } from "./help_topics.ts";
import { requirePermissions } from "./permissions.ts";
import { engineNeeds, requireServePermissions } from "./serve_permissions.ts";

/** Runs a command with what follows its name. */
type Run = (args: readonly string[]) => void | Promise<void>;

/** Every command; what it runs is loaded when it is asked for. */
export const COMMAND_TABLE: Readonly<Record<CommandName, Run>> = {
  serve: (args) => serveModel(["serve", ...args]),
  run: runPrompt,
  chat,
  plan,
  bench,
  pull,
  models,
  rm: remove,
  tune,
  explain,
  doctor,
  completions: (args) => {
    console.log(isHelp(args) ? helpOn("completions") : completionsCommand(args));
  },
  help: ([topic]) => console.log(helpOn(isHelp([topic ?? ""]) ? "help" : topic)),
  version: () => console.log(VERSION),
};

function isHelp(args: readonly string[]): boolean {
  return args.some((arg) => arg === "--help" || arg === "-h");
}

/**
 * Serves by a whole command line, whose command may be absent.
 *
 * @throws {StartupError} for a command that there is not, and as `parseConfig`.
 */
export async function serveModel(args: readonly string[]): Promise<void> {
  const config = parseConfig(args, processEnvironment(), note);
  if (config.command === "version") return console.log(VERSION);
  if (config.command === "help") {
    return console.log(helpOn(args[0] === "serve" ? "serve" : undefined));
  }
  requireServePermissions(config);
  const { serve } = await import("../server/serve.ts");
  await serve(config);
}

function note(line: string): void {
  console.error(`note: ${line}`);
}

async function runPrompt(args: readonly string[]): Promise<void> {
  const hasInput = !Deno.stdin.isTerminal();
  const { openChatServer } = await import("./chat_server.ts");
  const { promptOf, readInput, runCommand } = await import("./run_command.ts");
  const input = isHelp(args) || !hasInput ? "" : await readInput();
  const config = parseRunConfig(args, processEnvironment(), { hasInput: input !== "" });
  if (config === undefined) return console.log(helpOn("run"));
  const prompt = promptOf(config, input);
  const lines = phaseLines();
  const server = await openChatServer(config, (phase) => lines.show(phase))
    .finally(() => lines.end());
  const stop = new AbortController();
  Deno.addSignalListener("SIGINT", () => {
    if (stop.signal.aborted) Deno.exit(EXIT_CODES.interrupted);
    stop.abort();
  });
  const encoder = new TextEncoder();
  await runCommand(server, { prompt, answer: config.answer }, {
    write: (text) => writeAll(encoder.encode(text)),
    note: (line) => console.error(styleOf(Deno.stderr).dim(`[${line}]`)),
    isTerminal: Deno.stdout.isTerminal(),
  }, stop.signal);
  await server.stop();
  Deno.exit(stop.signal.aborted ? EXIT_CODES.interrupted : 0);
}

/** Whoever reads a pipe may leave before the end, as head does. */
function writeAll(bytes: Uint8Array): void {
  try {
    for (let left = bytes; left.length > 0;) left = left.subarray(Deno.stdout.writeSync(left));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    throw error;
  }
}

async function chat(args: readonly string[]): Promise<void> {
  const config = parseChatConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("chat"));
  const { openChatServer } = await import("./chat_server.ts");
  const lines = phaseLines();
  const server = await openChatServer(config, (phase) => lines.show(phase))
    .finally(() => lines.end());
  const { Chat, realFiles } = await import("./chat_command.ts");
  const { Conversation } = await import("./conversation.ts");
  const { openLineReader } = await import("../terminal/line_reader.ts");
  const style = styleOf(Deno.stdout);
  const reader = openLineReader();
  const write = (text: string) => writeAll(new TextEncoder().encode(text));
  if (Deno.stdin.isTerminal()) write(`${style.bold(server.description)}; /help, Ctrl-D ends\n\n`);
  const conversation = new Conversation(config.answer);
  const { client, model, explains } = server;
  const session = new Chat({
    client,
    model,
    explains,
    conversation,
    reader,
    write,
    style,
    files: realFiles,
  });
  // Ctrl-C is a key in the editor; a signal comes from elsewhere, or before a pipe's answer ends.
  Deno.addSignalListener("SIGINT", () => session.stop());
  await session.talk();
  reader.close();
  await server.stop();
  Deno.exit(0);
}

/** Shows the phases of a model's start, on a terminal alone. */
function phaseLines(): ProgressLines {
  const output = lineOutput(Deno.stderr);
  return new ProgressLines(output.isTerminal ? output : { isTerminal: false, write: () => {} });
}

async function plan(args: readonly string[]): Promise<void> {
  const config = parsePlanConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("plan"));
  const { planCommand } = await import("../server/plan_command.ts");
  const named = config.model === undefined
    ? undefined
    : await (await import("../server/find_model.ts")).findConfig(config.model);
  console.log(planCommand(config, named));
}

async function bench(args: readonly string[]): Promise<void> {
  const config = parseBenchConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("bench"));
  const { benchCommand } = await import("./bench_command.ts");
  const stop = new AbortController();
  Deno.addSignalListener("SIGINT", () => {
    if (stop.signal.aborted) Deno.exit(EXIT_CODES.interrupted);
    stop.abort();
  });
  const onProgress = progressLine();
  const report = await benchCommand(config, { onProgress, signal: stop.signal });
  onProgress("");
  console.log(report);
  Deno.exit(stop.signal.aborted ? EXIT_CODES.interrupted : 0);
}

/** Shows one line that changes, on a terminal alone. */
function progressLine(): (line: string) => void {
  if (!Deno.stderr.isTerminal()) return () => {};
  return (line) => Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[2K${line}`));
}

async function tune(args: readonly string[]): Promise<void> {
  const config = parseTuneConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("tune"));
  requirePermissions(engineNeeds());
  const { tuneCommand } = await import("../server/tune_command.ts");
  console.log(await tuneCommand(config, (words) => console.error(`... ${words}`)));
  Deno.exit(0);
}

async function pull(args: readonly string[]): Promise<void> {
  const config = parsePullConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("pull"));
  const { pullCommand } = await import("../server/pull_command.ts");
  console.log(await pullCommand(config));
  Deno.exit(0);
}

async function models(args: readonly string[]): Promise<void> {
  const config = parseModelsConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("models"));
  const { modelsCommand } = await import("../server/models_command.ts");
  console.log(modelsCommand(config));
}

async function remove(args: readonly string[]): Promise<void> {
  const config = parseRemoveConfig(args);
  if (config === undefined) return console.log(helpOn("rm"));
  const { removeCommand } = await import("../server/remove_command.ts");
  console.log(removeCommand(config));
}

async function explain(args: readonly string[]): Promise<void> {
  const config = parseExplainConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("explain"));
  const { explainCommand, explainRequest } = await import("./explain_command.ts");
  const { requestId } = config;
  if (requestId !== undefined) {
    return console.log(await explainRequest({ ...config, requestId }));
  }
  const text = config.file === undefined
    ? await (await import("./run_command.ts")).readInput()
    : (await import("./chat_command.ts")).realFiles.read(config.file);
  console.log(await explainCommand(config, text));
}

async function doctor(args: readonly string[]): Promise<void> {
  const config = parseDoctorConfig(args, processEnvironment());
  if (config === undefined) return console.log(helpOn("doctor"));
  const { doctorCommand } = await import("./doctor_command.ts");
  const { text, canServe } = await doctorCommand(config, styleOf(Deno.stdout));
  console.log(text);
  Deno.exit(canServe ? 0 : EXIT_CODES.mistake);
}
