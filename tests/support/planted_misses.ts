import type { MissCause } from "../../src/core/miss_report.ts";
import type { OriginMessage } from "../../src/core/prompt_origin.ts";
import type { SeededRandom } from "../../src/base/seeded_random.ts";
import type { Talk, Tool } from "./chat_caller.ts";

/** What a template can be asked for. */
export interface TemplateTraits {
  readonly hasTools: boolean;
  readonly hasThoughts: boolean;
  /** Whether `chat_template_kwargs.thinking` changes what is written before the first message. */
  readonly hasVariable: boolean;
  /** Whether earlier turns are written as they were when they were the last. */
  readonly isStable: boolean;
}

/** What happens between the first request and the second. */
export type CacheEvent = "evict" | "evict_long_ago" | "reset" | "restart" | "lose";

/** A divergence that is planted between two requests. */
export interface Plant {
  readonly cause: MissCause;
  readonly first: Talk;
  /** What the model answers to the first. */
  readonly answer: string;
  /** Whether the answer is drawn in other tokens than its text is encoded to. */
  readonly isOddlyDrawn?: boolean;
  readonly event?: CacheEvent;
  readonly second: Talk;
  /** Index of the message that the divergence lies in, and its field. */
  readonly message?: number;
  readonly field?: string;
}

const WORDS = ("the river house old green slowly walked under bridge market paper yellow garden " +
  "window found letter morning small boat wind carried quiet stone road children played music " +
  "story winter bread table light forest answer simple number machine travel teacher village " +
  "summer ocean bird painted door kitchen silver clock station train evening careful friend")
  .split(" ");

/** Makes plants from a seed; the same seed makes the same. */
export class Planter {
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** A plant of that cause, for a template; undefined where the template cannot show it. */
  plant(cause: MissCause, traits: TemplateTraits): Plant | undefined {
    const isToolCause = cause === "tool_order" || cause === "tool_schema";
    if (isToolCause && !traits.hasTools) return undefined;
    if (cause === "thinking_stripped" && !traits.hasThoughts) return undefined;
    if (cause === "template" && !traits.hasVariable && traits.isStable) return undefined;
    const needsStable = !["template", "new_conversation", "clock", "system_prompt"].includes(cause);
    if (needsStable && !traits.isStable) return undefined;
    return this.#make(cause, traits);
  }

  #make(cause: MissCause, traits: TemplateTraits): Plant {
    const system = `${this.#sentences(2)} ${this.#sentences(3)}`;
    const tools = traits.hasTools && this.#chance(0.5) ? this.#tools() : undefined;
    const base: Talk = {
      system,
      messages: this.#turns(1 + this.#below(3)),
      ...(tools && { tools }),
    };
    const answer = this.#sentences(2);
    const plain = { cause, first: base, answer };
    const next = this.#continued(base, answer);
    switch (cause) {
      case "clock":
        return this.#clock(plain);
      case "system_prompt":
        return { ...plain, second: { ...next, system: this.#edited(system) }, message: 0 };
      case "tool_order":
      case "tool_schema":
        return this.#toolChange(plain);
      case "message_edited":
        return this.#edit(plain);
      case "message_inserted": {
        const at = 2 * this.#below(Math.ceil(base.messages.length / 2));
        const more = [user(this.#sentences(1)), assistant(this.#sentences(1))];
        const messages = [...next.messages.slice(0, at), ...more, ...next.messages.slice(at)];
        return { ...plain, second: { ...next, messages }, message: at + 1 };
      }
      case "messages_dropped": {
        const first = { ...base, messages: this.#turns(3) };
        const { messages } = this.#continued(first, answer);
        const second = { ...next, messages: messages.slice(2 + 2 * this.#below(2)) };
        return { ...plain, first, second, message: 1 };
      }
      case "thinking_stripped":
        return this.#thoughts(plain);
      case "answer_changed": {
        const second = this.#continued(base, this.#edited(answer));
        return { ...plain, second, message: base.messages.length + 1, field: "content" };
      }
      case "answer_reencoded": {
        const message = base.messages.length + 1;
        return { ...plain, isOddlyDrawn: true, second: next, message, field: "content" };
      }
      case "template": {
        if (!traits.isStable) return { ...plain, second: next };
        const kwargs = { chat_template_kwargs: { thinking: true } };
        return { ...plain, second: { ...next, fields: kwargs } };
      }
      case "cache_scope": {
        const [a, b] = this.#chance(0.5) ? ["one", "two"] : [undefined, "three"];
        const first = a === undefined ? base : { ...base, salt: a };
        return { ...plain, first, second: { ...next, salt: b! } };
      }
      case "evicted":
        return { ...plain, event: this.#chance(0.7) ? "evict" : "evict_long_ago", second: next };
      case "cache_reset":
        return { ...plain, event: this.#chance(0.5) ? "reset" : "restart", second: next };
      case "not_computed":
        return { ...plain, event: "lose", second: next };
      case "prompt_read":
        return { ...plain, second: { ...next, fields: { prompt_logprobs: 0 } } };
      default:
        return { ...plain, second: { ...base, messages: this.#turns(1) } };
    }
  }

  #clock(plain: Omit<Plant, "second">): Plant {
    const { first, answer } = plain;
    const words = this.#sentences(1);
    const format = this.#pick(CLOCKS);
    const at = (ms: number) => {
      const told = `The time is ${format(new Date(ms))}.`;
      return this.#isEarly
        ? `${told} ${words} ${first.system}`
        : `${first.system} ${told} ${words}`;
    };
    this.#isEarly = this.#chance(0.5);
    const began = Date.UTC(2026, this.#below(12), 1 + this.#below(27), this.#below(23), 7);
    const later = began + 1000 * (86_400 * (1 + this.#below(200)) + 61 + this.#below(3600));
    const started = { ...first, system: at(began) };
    // The next turn, or another conversation of the same program.
    const goesOn = this.#chance(0.6)
      ? this.#continued(started, answer)
      : { ...started, messages: this.#turns(1) };
    return { ...plain, first: started, second: { ...goesOn, system: at(later) }, message: 0 };
  }

  #isEarly = false;

  #toolChange(plain: Omit<Plant, "second">): Plant {
    const { cause, answer } = plain;
    const tools = this.#tools();
    const first = { ...plain.first, tools };
    const next = this.#continued(first, answer);
    if (cause === "tool_order") {
      return { ...plain, first, second: { ...next, tools: [...tools.slice(1), tools[0]!] } };
    }
    const [tool] = tools as [Tool, ...Tool[]];
    const changed = this.#pick([
      () => [...tools, ...this.#tools().slice(0, 1)],
      () => tools.slice(1),
      () => [
        { ...tool, function: { ...tool.function, description: this.#sentences(1) } },
        ...tools.slice(1),
      ],
      () => [
        { ...tool, function: { ...tool.function, name: `${tool.function.name}_v2` } },
        ...tools.slice(1),
      ],
    ])();
    return { ...plain, first, second: { ...next, tools: changed } };
  }

  #edit(plain: Omit<Plant, "second">): Plant {
    const { first, answer } = plain;
    const next = this.#continued(first, answer);
    const at = this.#below(first.messages.length);
    const messages = next.messages.map((message, i) =>
      i === at ? { ...message, content: this.#edited(message.content) } : message
    );
    return { ...plain, second: { ...next, messages }, message: at + 1, field: "content" };
  }

  #thoughts(plain: Omit<Plant, "second">): Plant {
    const { first } = plain;
    const [thought, words] = [this.#sentences(2), this.#sentences(1)];
    const answer = `<think>\n${thought}\n</think>\n\n${words}`;
    const next = this.#continued(first, words);
    const messages = this.#chance(0.5)
      ? next.messages
      : next.messages.map((message, i) =>
        i === first.messages.length ? { ...message, reasoning_content: thought } : message
      );
    return {
      ...plain,
      answer,
      second: { ...next, messages },
      message: first.messages.length + 1,
    };
  }

  /** The conversation with an answer and a further question. */
  #continued(talk: Talk, answer: string): Talk {
    return { ...talk, messages: [...talk.messages, assistant(answer), user(this.#sentences(1))] };
  }

  /** So many turns, the last one the user's. */
  #turns(count: number): OriginMessage[] {
    return Array.from(
      { length: 2 * count - 1 },
      (_, i) => i % 2 === 0 ? user(this.#sentences(2)) : assistant(this.#sentences(2)),
    );
  }

  #tools(): Tool[] {
    return Array.from({ length: 2 + this.#below(3) }, () => ({
      type: "function",
      function: {
        name: `${this.#pick(WORDS)}_${this.#pick(WORDS)}_${this.#below(1000)}`,
        description: this.#sentences(1),
        parameters: {
          type: "object",
          properties: { [this.#pick(WORDS)]: { type: "string", description: this.#sentences(1) } },
          required: [],
        },
      },
    }));
  }

  /** The text with one word changed, added or left out, not the last. */
  #edited(text: string): string {
    const words = text.split(" ");
    const at = this.#below(words.length - 1);
    const other = `${this.#pick(WORDS)}ly`;
    const changes = [[at, 1, other], [at, 0, other], [at, 1]] as const;
    const [start, numGone, ...more] = this.#pick(changes);
    words.splice(start, numGone, ...more);
    return words.join(" ");
  }

  #sentences(count: number): string {
    return Array.from({ length: count }, () => {
      const words = Array.from({ length: 6 + this.#below(8) }, () => this.#pick(WORDS));
      const text = words.join(" ");
      return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
    }).join(" ");
  }

  #pick<T>(all: readonly T[]): T {
    return all[this.#below(all.length)]!;
  }

  #below(limit: number): number {
    return Math.floor(this.#random.uniform() * limit);
  }

  #chance(share: number): boolean {
    return this.#random.uniform() < share;
  }
}

/** Ways in which programs write the time. */
const CLOCKS: readonly ((date: Date) => string)[] = [
  (date) => date.toISOString(),
  (date) => date.toISOString().slice(0, 10),
  (date) => date.toISOString().slice(0, 19).replace("T", " "),
  (date) => date.toUTCString(),
  (date) => date.toLocaleString("en-US", { timeZone: "UTC" }),
  (date) => date.toLocaleDateString("en-GB", { timeZone: "UTC", dateStyle: "full" }),
  (date) => date.toLocaleDateString("en-US", { timeZone: "UTC", dateStyle: "long" }),
  (date) => date.toLocaleTimeString("en-GB", { timeZone: "UTC" }),
  (date) => String(Math.floor(date.getTime() / 1000)),
  (date) => String(date.getTime()),
];

function user(content: string): OriginMessage {
  return { role: "user", content };
}

function assistant(content: string): OriginMessage {
  return { role: "assistant", content };
}
