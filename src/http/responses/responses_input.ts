import { parseArguments } from "../openai/chat_schema.ts";
import { invalid, noText, quoted, required, unsupported } from "../refusals.ts";
import type { ServedModel } from "../services.ts";
import type { ChatMessage, ChatToolCall } from "../text_port.ts";
import { fullName } from "./response_tools.ts";
import type { Item, ItemPart, ResponsesPrompt } from "./responses_schema.ts";

/** Types of parts that are text, in what clients and models say. */
const TEXT_PARTS: ReadonlySet<string> = new Set([
  ...["input_text", "output_text", "text", "summary_text", "reasoning_text"],
]);
const ITEM_TYPES = ["message", "function_call", "function_call_output", "reasoning"];

/** An assistant's message while its items come. */
interface Turn {
  content: string | undefined;
  thought: string;
  readonly calls: ChatToolCall[];
}

/**
 * The conversation of `instructions` and `input` as a chat template reads it. Thoughts, a message
 * and calls that follow each other are one turn of the assistant; what system messages it begins
 * with are one.
 *
 * @param model as clients know it, for refusals.
 * @throws {RequestError} naming the item: for types and parts other than texts and functions, and
 * for an output without its call.
 */
export function toMessages(
  { instructions, input }: ResponsesPrompt,
  model: Pick<ServedModel, "names">,
): ChatMessage[] {
  const conversation = new Conversation(model);
  if (typeof instructions === "string" && instructions !== "") {
    conversation.say("system", instructions);
  }
  if (typeof input === "string") conversation.say("user", input);
  else input.forEach((item, i) => conversation.add(item, `input.${i}`));
  return conversation.end();
}

class Conversation {
  readonly #messages: ChatMessage[] = [];
  readonly #names = new Map<string, string>();
  #turn: Turn | undefined;
  readonly #model: Pick<ServedModel, "names">;

  constructor(model: Pick<ServedModel, "names">) {
    this.#model = model;
  }

  add(item: Item, path: string): void {
    const type = item.type ?? "message";
    if (type === "reasoning") return this.#think(item, path);
    if (type === "function_call") return this.#call(item, path);
    if (type === "function_call_output") return this.#answer(item, path);
    if (type === "message") return this.#message(item, path);
    const hint = type === "item_reference"
      ? "nothing is stored here: send the item itself (with store: false, clients do)"
      : `input has items of the types ${ITEM_TYPES.join(", ")}`;
    throw unsupported(`${path}.type`, `${path}.type ${quoted(type)} is not supported: ${hint}`);
  }

  say(role: "system" | "user", content: string): void {
    this.#endTurn();
    const [first] = this.#messages;
    if (role === "system" && this.#messages.length === 1 && first?.role === "system") {
      this.#messages[0] = { role, content: `${first.content}\n\n${content}` };
    } else this.#messages.push({ role, content });
  }

  end(): ChatMessage[] {
    this.#endTurn();
    return this.#messages;
  }

  #message({ role, content }: Item, path: string): void {
    const text = textOf(required(content, `${path}.content`), `${path}.content`, this.#model);
    const who = required(role, `${path}.role`);
    if (who !== "assistant") return this.say(who === "user" ? "user" : "system", text);
    const { content: said, calls } = this.#open();
    if (said !== undefined || calls.length > 0) this.#endTurn();
    this.#open().content = text;
  }

  #think({ content, summary, encrypted_content }: Item, path: string): void {
    const own = textOf(content ?? [], `${path}.content`, this.#model);
    const thought = own === "" ? textOf(summary ?? [], `${path}.summary`, this.#model) : own;
    if (thought === "" && typeof encrypted_content === "string" && encrypted_content !== "") {
      const param = `${path}.encrypted_content`;
      throw unsupported(
        param,
        `${param} cannot be read here: send content or a summary, or no item`,
      );
    }
    const { content: said, calls } = this.#open();
    if (said !== undefined || calls.length > 0) this.#endTurn();
    const turn = this.#open();
    turn.thought = [turn.thought, thought].filter((text) => text !== "").join("\n");
  }

  #call({ call_id, name, namespace, arguments: given }: Item, path: string): void {
    const id = required(call_id, `${path}.call_id`);
    const called = fullName({ name: required(name, `${path}.name`), namespace });
    const param = `${path}.arguments`;
    const value = parseArguments(required(given, param), param);
    this.#names.set(id, called);
    this.#open().calls.push({ id, type: "function", function: { name: called, arguments: value } });
  }

  #answer({ call_id, output }: Item, path: string): void {
    const id = required(call_id, `${path}.call_id`);
    const name = this.#names.get(id);
    if (name === undefined) {
      const param = `${path}.call_id`;
      throw invalid(param, `${param} ${quoted(id)} names no function_call before it in input`);
    }
    const content = textOf(required(output, `${path}.output`), `${path}.output`, this.#model);
    this.#endTurn();
    this.#messages.push({ role: "tool", content, tool_call_id: id, name });
  }

  #open(): Turn {
    return this.#turn ??= { content: undefined, thought: "", calls: [] };
  }

  #endTurn(): void {
    if (this.#turn === undefined) return;
    const { content = "", thought, calls } = this.#turn;
    this.#turn = undefined;
    this.#messages.push({
      role: "assistant",
      content,
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
      ...(thought === "" ? {} : { reasoning_content: thought }),
    });
  }
}

/** Texts of parts as lines, as in chats. */
function textOf(
  content: string | readonly ItemPart[],
  path: string,
  model: Pick<ServedModel, "names">,
): string {
  if (typeof content === "string") return content;
  return content.map(({ type, text }, i) => {
    if (!TEXT_PARTS.has(type)) {
      throw noText(`${path}.${i}.type`, type, model);
    }
    return required(text, `${path}.${i}.text`);
  }).join("\n");
}
