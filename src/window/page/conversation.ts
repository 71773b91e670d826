/** Settings that are numbers, which a request takes as they are. */
export const SAMPLER_FIELDS = [
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repetition_penalty",
  "presence_penalty",
  "frequency_penalty",
  "max_tokens",
  "seed",
] as const;

/** Who says a message. */
export type Role = "user" | "assistant";

/**
 * How an answer is: `waiting` for a server that is not ready, `streaming`, `done`, `stopped` by the
 * user, `cut` off by the tab's end or the connection's, `failed`.
 */
export type Status = "waiting" | "streaming" | "done" | "stopped" | "cut" | "failed";

/** What an answer took. Absent figures are not known. */
export interface AnswerFigures {
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  readonly answerTokens: number;
  /** From the request to the first token, ms, as the server measured it. */
  readonly firstTokenMs?: number;
  readonly tokensPerSecond?: number;
  readonly finishReason?: string;
  /** Why not more of the prompt was found in the cache, and what the request waited for. */
  readonly cacheWords?: readonly string[];
}

/** A message of a conversation; messages form a tree, whose branches are other tries. */
export interface Message {
  readonly id: string;
  /** The message that it follows; null for a beginning. */
  readonly parent: string | null;
  readonly role: Role;
  readonly content: string;
  readonly reasoning?: string;
  readonly status: Status;
  /** The tab that streams it. */
  readonly tab?: string;
  readonly figures?: AnswerFigures;
  /** Why it failed; empty for an answer that did not. */
  readonly error?: string;
}

/** What a conversation asks of the server; absent: the model's own. */
export interface Settings {
  readonly system?: string;
  readonly temperature?: number;
  readonly top_p?: number;
  readonly top_k?: number;
  readonly min_p?: number;
  readonly repetition_penalty?: number;
  readonly presence_penalty?: number;
  readonly frequency_penalty?: number;
  readonly max_tokens?: number;
  readonly seed?: number;
  /** Strings that end an answer, one a line. */
  readonly stop?: string;
  /** Whether the model is told to think; absent: as its template has it. */
  readonly thinking?: boolean;
  /** What an answer has to look like. */
  readonly format?: "json" | "schema";
  /** The JSON schema of an answer. */
  readonly schema?: string;
}

/** A conversation as the browser keeps it. */
export interface Conversation {
  readonly id: string;
  readonly title: string;
  /** Unix time, ms. */
  readonly updated: number;
  readonly settings: Settings;
  readonly messages: readonly Message[];
  /** The last message of the branch that is shown; null for none. */
  readonly head: string | null;
}

/** Longest title, characters. */
const MAX_TITLE_LENGTH = 60;

/** A conversation without messages. */
export function newConversation(settings: Settings = {}): Conversation {
  return { id: newId(), title: "", updated: Date.now(), settings, messages: [], head: null };
}

/** A name that no other message or conversation has. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The messages from the beginning to `head`. */
export function pathOf({ messages, head }: Pick<Conversation, "messages" | "head">): Message[] {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const path: Message[] = [];
  for (let id = head; id !== null;) {
    const message = byId.get(id);
    if (message === undefined || path.length > messages.length) break;
    path.push(message);
    id = message.parent;
  }
  return path.reverse();
}

/** All tries at the place of a message, in the order in which they were made. */
export function siblingsOf({ messages }: Conversation, { parent, role }: Message): Message[] {
  return messages.filter((other) => other.parent === parent && other.role === role);
}

/** The conversation with a message added, which becomes its head. */
export function withMessage(conversation: Conversation, message: Message): Conversation {
  return {
    ...conversation,
    title: conversation.title || titleOf(message.content),
    updated: Date.now(),
    messages: [...conversation.messages, message],
    head: message.id,
  };
}

/** The conversation with fields of one message changed. */
export function withChange(
  conversation: Conversation,
  id: string,
  change: Partial<Message>,
): Conversation {
  const messages = conversation.messages.map((message) =>
    message.id === id ? { ...message, ...change } : message
  );
  return { ...conversation, updated: Date.now(), messages };
}

/** The conversation with the branch shown that goes through a message, to its latest end. */
export function showBranch(conversation: Conversation, id: string): Conversation {
  let head = id;
  for (;;) {
    const next = conversation.messages.findLast(({ parent }) => parent === head);
    if (next === undefined) return { ...conversation, head };
    head = next.id;
  }
}

/** The beginning of a text, in one line, as a title. */
export function titleOf(text: string): string {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length <= MAX_TITLE_LENGTH ? line : `${line.slice(0, MAX_TITLE_LENGTH - 1)}…`;
}

/** Whether a conversation has all words of a search somewhere, in any case. */
export function matches({ title, messages }: Conversation, search: string): boolean {
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== "");
  if (words.length === 0) return true;
  const text = [title, ...messages.map(({ content }) => content)].join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}
