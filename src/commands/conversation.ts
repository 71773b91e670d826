import { StartupError } from "../core/errors.ts";
import type { Message } from "../client/openai_client.ts";

/** Settings of an answer that `/set` knows, in OpenAI's names, with their bounds. */
const SETTINGS: Readonly<Record<string, { readonly min: number; readonly max: number }>> = {
  temperature: { min: 0, max: 2 },
  top_p: { min: 0, max: 1 },
  top_k: { min: -1, max: 1e6 },
  min_p: { min: 0, max: 1 },
  max_tokens: { min: 1, max: 1e7 },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER },
  presence_penalty: { min: -2, max: 2 },
  frequency_penalty: { min: -2, max: 2 },
  repetition_penalty: { min: 0.01, max: 10 },
};

/** Settings whose values have no fraction. */
const INTEGERS: readonly string[] = ["top_k", "max_tokens", "seed"];

/** A conversation, and how the next answer is drawn. */
export class Conversation {
  #messages: Message[] = [];
  #fields: Record<string, number>;
  system: string | undefined;

  constructor(
    { system, fields }: {
      readonly system?: string;
      readonly fields: Readonly<Record<string, number>>;
    },
  ) {
    this.system = system;
    this.#fields = { ...fields };
  }

  /** What a request carries: the instructions first, then what was said. */
  get messages(): readonly Message[] {
    const { system } = this;
    return [
      ...(system === undefined ? [] : [{ role: "system", content: system } as const]),
      ...this.#messages,
    ];
  }

  get fields(): Readonly<Record<string, number>> {
    return this.#fields;
  }

  /** Messages said so far, both sides'. */
  get length(): number {
    return this.#messages.length;
  }

  ask(content: string): void {
    this.#messages.push({ role: "user", content });
  }

  answer(content: string): void {
    this.#messages.push({ role: "assistant", content });
  }

  /** Takes the last answer back; whether there is a question left to answer. */
  retry(): boolean {
    if (this.#messages.at(-1)?.role === "assistant") this.#messages.pop();
    return this.#messages.at(-1)?.role === "user";
  }

  /** Takes the last question and its answer back; undefined where there is none. */
  undo(): string | undefined {
    this.retry();
    return this.#messages.pop()?.content;
  }

  clear(): void {
    this.#messages = [];
  }

  /**
   * Sets, or with `off` removes, a setting of the next answers.
   *
   * @throws {StartupError} on a setting that there is not, and on a value outside its bounds.
   */
  set(name: string, text: string): void {
    if (!Object.hasOwn(SETTINGS, name)) {
      const names = Object.keys(SETTINGS).join(", ");
      throw new StartupError(`There is no setting ${JSON.stringify(name)}: there are ${names}`);
    }
    if (text === "off") {
      delete this.#fields[name];
      return;
    }
    const { min, max } = SETTINGS[name]!;
    const value = text === "" ? NaN : Number(text);
    const isInteger = INTEGERS.includes(name);
    if (!(value >= min && value <= max) || isInteger && !Number.isInteger(value)) {
      throw new StartupError(
        `${name} must be ${isInteger ? "an integer" : "a number"} from ${min} to ${max}, or off, ` +
          `got ${JSON.stringify(text)}`,
      );
    }
    this.#fields[name] = value;
  }

  /** As a file holds it. */
  toJson(model: string): string {
    const { system } = this;
    const saved = {
      model,
      ...(system === undefined ? {} : { system }),
      settings: this.#fields,
      messages: this.#messages,
    };
    return JSON.stringify(saved, undefined, 2) + "\n";
  }

  /**
   * Takes over what {@link toJson} wrote, or a plain list of OpenAI's messages.
   *
   * @throws {StartupError} for a text of another form; the conversation then stays as it is.
   */
  load(text: string): void {
    const refuse = (why: string) => new StartupError(`This is no saved conversation: ${why}`);
    let saved: unknown;
    try {
      saved = JSON.parse(text);
    } catch {
      throw refuse("it is no JSON");
    }
    const { messages, system, settings = {} } =
      (Array.isArray(saved) ? { messages: saved } : saved ?? {}) as {
        messages?: unknown;
        system?: unknown;
        settings?: object;
      };
    if (!Array.isArray(messages) || !messages.every(isMessage)) {
      throw refuse('it needs "messages" with "role" and "content"');
    }
    const next = new Conversation({ fields: {} });
    for (const [name, value] of Object.entries(settings)) next.set(name, String(value));
    const first = messages[0]?.role === "system" ? messages[0].content : undefined;
    this.#messages = messages.filter(({ role }) => role !== "system");
    this.#fields = { ...next.fields };
    this.system = typeof system === "string" ? system : first;
  }
}

function isMessage(value: unknown): value is Message {
  const { role, content } = (value ?? {}) as Partial<Message>;
  return typeof content === "string" &&
    (role === "system" || role === "user" || role === "assistant");
}
