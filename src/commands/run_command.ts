import type { AnswerSettings, ChatConfig } from "../core/chat_config.ts";
import { StartupError } from "../core/errors.ts";
import { AnswerMeter, describeTimes } from "../client/answer_meter.ts";
import type { Message, OpenAiClient } from "../client/openai_client.ts";
import { visibleText } from "../terminal/style.ts";

/** What one answer goes through. */
export interface RunOutput {
  /** Standard output. */
  readonly write: (text: string) => void;
  /** Standard error, a line at a time. */
  readonly note: (line: string) => void;
  /** A terminal sees no control characters of a model's, and the figures of the answer. */
  readonly isTerminal: boolean;
}

/** Most of standard input that is read as a prompt, bytes. */
const MAX_INPUT_BYTES = 16 * 2 ** 20;

/** The prompt: the words of the command line, and below them what was piped in. */
export function promptOf({ words }: Pick<ChatConfig, "words">, input: string): string {
  const prompt = [words.join(" "), input.trimEnd()].filter((part) => part !== "").join("\n\n");
  if (prompt !== "") return prompt;
  throw new StartupError(
    'quire run needs a prompt, such as quire run "Hello!", or one on standard input; quire chat ' +
      "asks for it",
  );
}

/** Reads standard input to its end. @throws {StartupError} where it is too long. */
export async function readInput(
  stream: ReadableStream<Uint8Array> = Deno.stdin.readable,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let numBytes = 0;
  for await (const chunk of stream) {
    numBytes += chunk.length;
    if (numBytes > MAX_INPUT_BYTES) {
      throw new StartupError(`Standard input is longer than the limit of ${MAX_INPUT_BYTES} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * `quire run`: streams one answer. Ends quietly where `signal` aborts.
 *
 * @throws {StartupError} where the server refuses.
 */
export async function runCommand(
  { client, model }: { readonly client: OpenAiClient; readonly model: string },
  { prompt, answer }: { readonly prompt: string; readonly answer: AnswerSettings },
  { write, note, isTerminal }: RunOutput,
  signal?: AbortSignal,
): Promise<void> {
  const messages: Message[] = [
    ...(answer.system === undefined ? [] : [{ role: "system", content: answer.system } as const]),
    { role: "user", content: prompt },
  ];
  const meter = new AnswerMeter(performance.now());
  let last = "\n";
  try {
    for await (const part of client.chat({ model, messages, ...answer.fields }, signal)) {
      meter.add(part);
      if (part.text === "") continue;
      write(isTerminal ? visibleText(part.text) : part.text);
      last = part.text;
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  }
  if (!last.endsWith("\n")) write("\n");
  if (isTerminal) note(describeTimes(meter.times));
}
