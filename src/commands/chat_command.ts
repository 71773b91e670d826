import { nearestName } from "../base/edit_distance.ts";
import { StartupError } from "../core/errors.ts";
import { AnswerMeter, describeTimes } from "../client/answer_meter.ts";
import type { OpenAiClient } from "../client/openai_client.ts";
import { MarkdownPainter } from "../terminal/markdown_painter.ts";
import { type LineReader, readMessage } from "../terminal/line_reader.ts";
import { type Style, visibleText } from "../terminal/style.ts";
import { Conversation } from "./conversation.ts";

/** What can be said to the program, in place of a message. */
const COMMANDS = [
  ["/system [TEXT]", "show the instructions, or give others; /system off takes them away"],
  ["/set [NAME VALUE]", "show the settings, or change one; the value off takes it away"],
  ["/retry", "have the last question answered once more"],
  ["/undo", "take the last question and its answer back"],
  ["/why", "what the last question found in the prefix cache, and why not more (Quire alone)"],
  ["/clear", "begin anew, with the same instructions and settings"],
  ["/save FILE", "write the conversation to a file"],
  ["/load FILE", "go on with a conversation from a file"],
  ["/help", "show this list"],
  ["/exit", "end (also Ctrl-D)"],
] as const;

const NAMES: readonly string[] = COMMANDS.map(([usage]) => usage.split(" ")[0]!);
/** What other programs call the same. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ["/bye", "/exit"],
  ["/quit", "/exit"],
  ["/?", "/help"],
  ["/regenerate", "/retry"],
  ["/reset", "/clear"],
]);

/** Files, as far as a chat needs them. */
export interface ChatFiles {
  read(path: string): string;
  write(path: string, text: string): void;
}

/** What a chat needs. */
export interface ChatParts {
  readonly client: OpenAiClient;
  readonly model: string;
  /** The server takes `explain`, as Quire's do. */
  readonly explains?: boolean;
  readonly conversation: Conversation;
  readonly reader: LineReader;
  readonly write: (text: string) => void;
  readonly style: Style;
  readonly files: ChatFiles;
}

/** A chat in the terminal. */
export class Chat {
  readonly #parts: ChatParts;
  #running: AbortController | undefined;
  #hasEnded = false;
  /** Of the last question. */
  #explanation: string | undefined;

  constructor(parts: ChatParts) {
    this.#parts = parts;
    parts.reader.onInterrupt = () => this.stop();
  }

  /** Talks until the input or the user ends it. */
  async talk(): Promise<void> {
    const { reader, style } = this.#parts;
    const prompts = { first: style.bold("> "), more: style.dim(". ") };
    while (!this.#hasEnded) {
      const message = await readMessage(reader, prompts);
      if (message === undefined) break;
      await this.take(message);
    }
  }

  /** Takes one message or command. */
  async take(message: string): Promise<void> {
    const text = message.trim();
    if (text === "") return;
    try {
      if (text.startsWith("/") && !text.startsWith("//")) return await this.#obey(text);
      this.#parts.conversation.ask(text.startsWith("//") ? text.slice(1) : text);
      await this.#answer();
    } catch (error) {
      if (!(error instanceof StartupError)) throw error;
      this.#say(this.#parts.style.red(`error: ${error.message}`));
    }
  }

  /** Stops the answer that is being written, if any. */
  stop(): void {
    this.#running?.abort();
  }

  /** Streams the answer to the last question; what came before a stop is kept. */
  async #answer(): Promise<void> {
    const { client, model, conversation, write, style } = this.#parts;
    const painter = new MarkdownPainter(style);
    const running = this.#running = new AbortController();
    const meter = new AnswerMeter(performance.now());
    let content = "";
    let isThinking = false;
    try {
      const extras = this.#parts.explains === true ? { explain: true } : {};
      const fields = { model, messages: conversation.messages, ...conversation.fields, ...extras };
      this.#explanation = undefined;
      for await (const part of client.chat(fields, running.signal)) {
        meter.add(part);
        this.#explanation = part.explanation ?? this.#explanation;
        if (part.thinking !== "") {
          isThinking = true;
          write(style.dim(visibleText(part.thinking)));
        }
        if (part.text === "") continue;
        if (isThinking) write("\n\n");
        isThinking = false;
        content += part.text;
        write(painter.write(visibleText(part.text)));
      }
    } catch (error) {
      if (!running.signal.aborted) {
        if (content === "") conversation.undo();
        else conversation.answer(content);
        throw error;
      }
    } finally {
      this.#running = undefined;
      write(painter.end());
    }
    // Stopped before its first word, a question counts as not asked.
    if (content === "" && running.signal.aborted) conversation.undo();
    else conversation.answer(content);
    const stopped = running.signal.aborted ? "stopped; " : "";
    write(`${content.endsWith("\n") ? "" : "\n"}`);
    this.#say(style.dim(`[${stopped}${describeTimes(meter.times)}]`));
  }

  async #obey(text: string): Promise<void> {
    const [, word = "", rest = ""] = /^(\S+)\s*([\s\S]*)$/.exec(text)!;
    const { conversation, style } = this.#parts;
    const name = OTHER_NAMES.get(word) ?? word;
    switch (name) {
      case "/help":
        return this.#help();
      case "/exit":
        this.#hasEnded = true;
        return;
      case "/system":
        return this.#system(rest);
      case "/set":
        return this.#set(rest);
      case "/save":
        return this.#save(rest);
      case "/load":
        return this.#load(rest);
      case "/why":
        return this.#say(style.dim(visibleText(this.#explanation ?? "Nothing was explained")));
      case "/clear":
        conversation.clear();
        return this.#say(style.dim("A new conversation"));
      case "/undo": {
        const question = conversation.undo();
        const words = question === undefined ? "There is nothing to undo" : `Undone: ${question}`;
        return this.#say(style.dim(words));
      }
      case "/retry":
        if (conversation.retry()) return await this.#answer();
        return this.#say(style.dim("There is no question to answer"));
    }
    const nearest = nearestName(name, NAMES);
    const hint = nearest === undefined ? "/help lists the commands" : `did you mean ${nearest}?`;
    throw new StartupError(
      `There is no command ${JSON.stringify(word)}: ${hint} (two slashes begin a message)`,
    );
  }

  #help(): void {
    const { style } = this.#parts;
    for (const [usage, meaning] of COMMANDS) {
      this.#say(`  ${style.cyan(usage.padEnd(18))} ${meaning}`);
    }
    this.#say("");
    this.#say('  A line that ends in \\ goes on, and so does everything between two """.');
    this.#say("  Ctrl-C stops an answer; at the prompt it empties the line, and then ends.");
  }

  #system(text: string): void {
    const { conversation, style } = this.#parts;
    if (text !== "") conversation.system = text === "off" ? undefined : text;
    const { system } = conversation;
    this.#say(style.dim(system === undefined ? "No instructions" : `Instructions: ${system}`));
  }

  #set(rest: string): void {
    const { conversation, style } = this.#parts;
    const [name = "", value = ""] = rest.split(/[\s=]+/);
    if (name !== "") conversation.set(name, value);
    const fields = Object.entries(conversation.fields);
    const words = fields.map(([key, set]) => `${key} ${set}`).join(", ");
    this.#say(style.dim(words === "" ? "The model's own settings" : words));
  }

  #save(path: string): void {
    const { conversation, model, files, style } = this.#parts;
    if (path === "") throw new StartupError("/save needs the name of a file");
    files.write(path, conversation.toJson(model));
    this.#say(style.dim(`${conversation.length} messages are in ${path}`));
  }

  #load(path: string): void {
    const { conversation, files, style } = this.#parts;
    if (path === "") throw new StartupError("/load needs the name of a file");
    conversation.load(files.read(path));
    this.#say(style.dim(`${conversation.length} messages of ${path}`));
  }

  #say(line: string): void {
    this.#parts.write(`${line}\n`);
  }
}

/** Files of this machine; what fails is one sentence. */
export const realFiles: ChatFiles = {
  read: (path) => orSentence(() => Deno.readTextFileSync(path), { name: "read", path }),
  write: (path, text) =>
    orSentence(() => Deno.writeTextFileSync(path, text), { name: "write", path }),
};

function orSentence<T>(
  work: () => T,
  permission: Deno.ReadPermissionDescriptor | Deno.WritePermissionDescriptor,
): T {
  const { name, path } = permission;
  // A question of Deno's would stand in the middle of the chat.
  if (Deno.permissions.querySync(permission).state !== "granted") {
    throw new StartupError(`Not allowed to ${name} ${path}: start with --allow-${name}=${path}`);
  }
  try {
    return work();
  } catch (error) {
    throw new StartupError(`Cannot ${name} ${path}: ${(error as Error).message}`);
  }
}
