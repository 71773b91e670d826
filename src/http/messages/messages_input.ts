import { invalid, noText, quoted, required, unsupported } from "../refusals.ts";
import type { ServedModel } from "../services.ts";
import type { ChatMessage, ChatToolCall } from "../text_port.ts";
import type { Block, InnerBlock, MessagesPrompt } from "./messages_schema.ts";

const MEDIA_TYPES = ["image", "document"];
const BLOCK_TYPES = ["text", "thinking", "tool_use", "tool_result"];

/** A message of text, or the assistant's, while its blocks come. */
interface Turn {
  readonly role: "user" | "assistant" | "system";
  readonly texts: string[];
  readonly thoughts: string[];
  readonly calls: ChatToolCall[];
}

/** A conversation as a chat template reads it. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
  /** Whether it ends with an answer of the assistant that is to go on. */
  readonly isOpen: boolean;
}

/**
 * The conversation of `system` and `messages`. Turns of one role that follow each other are one, as
 * Anthropic has it; results of tools are messages of their own.
 *
 * @param model as clients know it, for refusals.
 * @throws {RequestError} naming the block: for types other than texts, thoughts and tools, for a
 * result without its call, and for a call without a result.
 */
export function toConversation(
  { system, messages }: MessagesPrompt,
  model: Pick<ServedModel, "names">,
): Conversation {
  const builder = new ConversationBuilder(model);
  if (system !== undefined && system !== null) builder.add("system", system, "system");
  messages.forEach(({ role, content }, i) => builder.add(role, content, `messages.${i}.content`));
  return builder.end();
}

class ConversationBuilder {
  readonly #messages: ChatMessage[] = [];
  /** Names of the tools called so far, and the calls that have no result yet. */
  readonly #names = new Map<string, string>();
  readonly #unanswered = new Set<string>();
  #turn: Turn | undefined;
  readonly #model: Pick<ServedModel, "names">;

  constructor(model: Pick<ServedModel, "names">) {
    this.#model = model;
  }

  add(role: Turn["role"], content: string | readonly Block[], path: string): void {
    if (typeof content === "string") {
      this.#open(role).texts.push(content);
      return;
    }
    content.forEach((block, i) => this.#take(role, block, `${path}.${i}`));
  }

  end(): Conversation {
    const isOpen = this.#turn?.role === "assistant";
    this.#endTurn();
    const [id] = this.#unanswered;
    if (id !== undefined) {
      throw invalid("messages", `messages has no tool_result for the tool_use ${quoted(id)}`);
    }
    return { messages: this.#messages, isOpen };
  }

  #take(role: Turn["role"], block: Block, path: string): void {
    const { type } = block;
    if (type === "text") {
      this.#open(role).texts.push(required(block.text, `${path}.text`));
    } else if (type === "thinking" && role === "assistant") {
      this.#open(role).thoughts.push(required(block.thinking, `${path}.thinking`));
    } else if (type === "tool_use" && role === "assistant") this.#call(block, path);
    else if (type === "tool_result" && role === "user") this.#answer(block, path);
    else {
      const param = `${path}.type`;
      const known = BLOCK_TYPES.join(", ");
      throw BLOCK_TYPES.includes(type)
        ? invalid(param, `${param} ${quoted(type)} does not belong into a message of the ${role}`)
        : MEDIA_TYPES.includes(type)
        ? noText(param, type, this.#model)
        : unsupported(param, `${param} ${quoted(type)} is not supported: blocks are ${known}`);
    }
  }

  #call({ id: given, name, input }: Block, path: string): void {
    const id = required(given, `${path}.id`);
    const called = required(name, `${path}.name`);
    this.#names.set(id, called);
    this.#unanswered.add(id);
    const call = { name: called, arguments: required(input, `${path}.input`) };
    this.#open("assistant").calls.push({ id, type: "function", function: call });
  }

  #answer({ tool_use_id, content, is_error }: Block, path: string): void {
    const param = `${path}.tool_use_id`;
    const id = required(tool_use_id, param);
    const name = this.#names.get(id);
    if (name === undefined) {
      throw invalid(param, `${param} ${quoted(id)} names no tool_use before it in messages`);
    }
    const text = textOf(content ?? "", `${path}.content`, this.#model);
    this.#endTurn();
    this.#unanswered.delete(id);
    // Templates have no place for a failure but the text.
    const said = is_error === true ? `Error: ${text}` : text;
    this.#messages.push({ role: "tool", content: said, tool_call_id: id, name });
  }

  #open(role: Turn["role"]): Turn {
    if (this.#turn?.role !== role) this.#endTurn();
    return this.#turn ??= { role, texts: [], thoughts: [], calls: [] };
  }

  #endTurn(): void {
    if (this.#turn === undefined) return;
    const { role, texts, thoughts, calls } = this.#turn;
    this.#turn = undefined;
    const thought = thoughts.join("\n");
    this.#messages.push({
      role,
      content: texts.join("\n"),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
      ...(thought === "" ? {} : { reasoning_content: thought }),
    });
  }
}

/** Texts of blocks as lines, as in chats. */
function textOf(
  content: string | readonly InnerBlock[],
  path: string,
  model: Pick<ServedModel, "names">,
): string {
  if (typeof content === "string") return content;
  return content.map(({ type, text }, i) => {
    const param = `${path}.${i}.type`;
    if (type !== "text") throw noText(param, type, model);
    return required(text, `${path}.${i}.text`);
  }).join("\n");
}
