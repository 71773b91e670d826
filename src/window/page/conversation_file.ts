import type { Conversation, Message, Settings } from "./conversation.ts";
import { newId, SAMPLER_FIELDS, titleOf } from "./conversation.ts";

/** What marks a file of conversations. */
const FORMAT = "quire.conversations.v1";

/** Most characters of a file that is read. */
const MAX_FILE_LENGTH = 64 * 2 ** 20;
/** Most messages of a conversation that is read. */
const MAX_MESSAGES = 10_000;

const TEXTS = ["system", "stop", "schema"] as const;

/** Conversations as the text of a file. */
export function toFile(conversations: readonly Conversation[]): string {
  return JSON.stringify({ format: FORMAT, conversations }, null, 1);
}

/**
 * The conversations of a file, under names of their own, so that what is kept stays.
 *
 * @throws {Error} in a sentence for the person who chose the file.
 */
export function fromFile(text: string): Conversation[] {
  if (text.length > MAX_FILE_LENGTH) {
    throw new Error(`The file has ${text.length} characters, at most ${MAX_FILE_LENGTH} are read`);
  }
  const { format, conversations } = parse(text);
  if (format !== FORMAT || !Array.isArray(conversations)) {
    throw new Error(`The file holds no conversations of this window (format "${FORMAT}")`);
  }
  return conversations.map(readConversation);
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text));
  } catch {
    throw new Error("The file is not JSON");
  }
}

function readConversation(given: unknown, i: number): Conversation {
  const { title, updated, settings, messages, head } = Object(given);
  if (!Array.isArray(messages) || messages.length > MAX_MESSAGES) {
    throw new Error(`Conversation ${i + 1} has no list of at most ${MAX_MESSAGES} messages`);
  }
  const read = messages.map((message, j) => readMessage(message, `Message ${j + 1} of ${i + 1}`));
  const known = new Set<string | null>([null]);
  for (const { id, parent } of read) {
    // Each after the one that it follows: so no branch goes in circles.
    if (!known.has(parent)) throw new Error(`Conversation ${i + 1} has a message without its past`);
    known.add(id);
  }
  return {
    id: newId(),
    title: titleOf(typeof title === "string" ? title : ""),
    updated: typeof updated === "number" ? updated : Date.now(),
    settings: readSettings(settings),
    messages: read,
    head: known.has(head) ? head : read.at(-1)?.id ?? null,
  };
}

function readMessage(given: unknown, place: string): Message {
  const { id, parent, role, content, reasoning } = Object(given);
  const isSound = typeof id === "string" && (parent === null || typeof parent === "string") &&
    (role === "user" || role === "assistant") && typeof content === "string";
  if (!isSound) throw new Error(`${place} is none: it needs id, parent, role and content`);
  const thought = typeof reasoning === "string" ? { reasoning } : {};
  return { id, parent, role, content, ...thought, status: "done" };
}

function readSettings(given: unknown): Settings {
  const from = Object(given) as Record<string, unknown>;
  const types: Readonly<Record<string, (value: unknown) => boolean>> = {
    ...Object.fromEntries(SAMPLER_FIELDS.map((name) => [name, Number.isFinite])),
    ...Object.fromEntries(TEXTS.map((name) => [name, (value) => typeof value === "string"])),
    thinking: (value) => typeof value === "boolean",
    format: (value) => value === "json" || value === "schema",
  };
  return Object.fromEntries(
    Object.keys(types).filter((name) => types[name]!(from[name])).map((name) => [name, from[name]]),
  );
}
