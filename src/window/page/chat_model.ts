/// <reference lib="dom" />
import { runAnswer } from "./answer_run.ts";
import type { Api } from "./api.ts";
import {
  type Conversation,
  type Message,
  newConversation,
  newId,
  type Settings,
  showBranch,
  withChange,
  withMessage,
} from "./conversation.ts";
import { fromFile } from "./conversation_file.ts";
import type { ConversationStore } from "./conversation_store.ts";

/** Names a tab across its reloads. */
const TAB_ITEM = "quire.tab";
/** Milliseconds until a request is sent again that met a server that was not ready. */
const AGAIN_MS = 2000;

/** All conversations, the one that is shown, and the answers that are under way. */
export class ChatModel {
  readonly #api: Api;
  readonly #store: ConversationStore;
  readonly #tab: string;
  readonly #listeners = new Set<() => void>();
  /** Ends the answer of a message. */
  readonly #running = new Map<string, AbortController>();
  #conversations: readonly Conversation[] = [];
  #shown: Conversation = newConversation();
  #isServerReady = false;

  /** Whether what the browser keeps has been read. */
  isLoaded = false;
  /** Whether the browser does not keep what is said. */
  isForgetful = false;
  /** Whether the server has asked for a key that it was not given. */
  needsKey = false;

  constructor(api: Api, store: ConversationStore) {
    this.#api = api;
    this.#store = store;
    this.#tab = sessionStorage.getItem(TAB_ITEM) ?? newId();
    sessionStorage.setItem(TAB_ITEM, this.#tab);
    // In this view or in another one.
    api.onKey(() => {
      this.needsKey = false;
      this.#notify();
      this.#runWaiting();
    });
    store.listen({
      onChange: (id, conversation) => this.#adopt(id, conversation),
      onProblem: (isFailing) => {
        if (this.isForgetful === isFailing) return;
        this.isForgetful = isFailing;
        this.#notify();
      },
    });
  }

  /** The conversations, the latest first; a new one without messages is not among them. */
  get conversations(): readonly Conversation[] {
    return this.#conversations;
  }

  get shown(): Conversation {
    return this.#shown;
  }

  /** Calls `listener` after each change, until the returned function is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads what is kept, shows what this tab showed, and goes on with its answers. */
  async load(shownId: string | undefined): Promise<void> {
    const kept = await this.#store.all();
    // What was said before they were read stays.
    this.#conversations = [...this.#conversations, ...kept];
    if (this.#shown.messages.length === 0) {
      this.#shown = kept.find(({ id }) => id === shownId) ?? newConversation(kept[0]?.settings);
    }
    this.isLoaded = true;
    for (const conversation of kept) {
      for (const { id, status: last, tab } of conversation.messages) {
        if (last !== "streaming" && last !== "waiting") continue;
        // One of another tab, which may still run there, is not written.
        const isOwn = tab === this.#tab;
        const status = isOwn ? "waiting" : "cut";
        const changed = withChange(this.#find(conversation.id)!, id, { status });
        this.#place({ ...changed, updated: conversation.updated });
      }
    }
    this.#notify();
    this.#runWaiting();
  }

  /** The server takes requests, or no longer does. */
  setServerReady(isReady: boolean): void {
    this.#isServerReady = isReady;
    if (isReady) this.#runWaiting();
  }

  startNew(): void {
    this.#shown = newConversation(this.#shown.settings);
    this.#notify();
  }

  show(id: string): void {
    this.#shown = this.#find(id) ?? this.#shown;
    this.#notify();
  }

  async remove(id: string): Promise<void> {
    for (const { id: message } of this.#find(id)?.messages ?? []) this.stop(message);
    this.#conversations = this.#conversations.filter((other) => other.id !== id);
    if (this.#shown.id === id) this.#shown = newConversation(this.#shown.settings);
    this.#notify();
    await this.#store.remove(id);
  }

  /** Adds the conversations of a file, and shows the first. */
  import(text: string): number {
    const read = fromFile(text);
    for (const conversation of read) this.#put(conversation);
    if (read[0] !== undefined) this.show(read[0].id);
    return read.length;
  }

  /**
   * Sets one setting of the shown conversation, or takes it away. What others were drawn with does
   * not count: several may change within a frame.
   */
  setSetting(name: keyof Settings, value: unknown): void {
    const { [name]: _, ...others } = this.#shown.settings;
    const settings = value === undefined ? others : { ...others, [name]: value };
    this.#update({ ...this.#shown, settings });
  }

  /** Says something at the end of the shown branch, and asks for the answer. */
  send(content: string): void {
    this.#ask(this.#shown.head, content);
  }

  /** Says something else in place of a message: a branch of its own, with an answer of its own. */
  edit(message: Message, content: string): void {
    if (message.role === "user") return this.#ask(message.parent, content);
    const edited: Message = { ...message, id: newId(), content, status: "done" };
    this.#update(withMessage(this.#shown, edited));
  }

  /** Answers once more, beside the answers that there are. */
  regenerate({ parent }: Message): void {
    this.#answer(this.#shown, parent!);
  }

  /** Goes on with an answer that was stopped or cut off. */
  goOn({ id }: Message): void {
    this.#change(this.#shown.id, id, { status: "waiting", tab: this.#tab });
    this.#runWaiting();
  }

  /** Ends an answer where it is. */
  stop(id: string): void {
    this.#running.get(id)?.abort();
    const holder = this.#conversations.find(({ messages }) =>
      messages.some((message) => message.id === id && message.status === "waiting")
    );
    if (holder !== undefined) this.#change(holder.id, id, { status: "stopped" });
  }

  showBranch(id: string): void {
    this.#update(showBranch(this.#shown, id));
  }

  #ask(parent: string | null, content: string): void {
    const question: Message = { id: newId(), parent, role: "user", content, status: "done" };
    this.#answer(withMessage(this.#shown, question), question.id);
  }

  #answer(conversation: Conversation, parent: string): void {
    const answer: Message = {
      id: newId(),
      parent,
      role: "assistant",
      content: "",
      status: "waiting",
      tab: this.#tab,
    };
    this.#update(withMessage(conversation, answer));
    this.#runWaiting();
  }

  /** Asks for the answers that wait, where the server takes requests. */
  #runWaiting(): void {
    if (!this.#isServerReady || this.needsKey) return;
    for (const conversation of this.#conversations) {
      for (const message of conversation.messages) {
        const isOwn = message.status === "waiting" && message.tab === this.#tab;
        if (isOwn && !this.#running.has(message.id)) this.#run(conversation, message);
      }
    }
  }

  /** Asks for an answer, or for the rest of one. */
  async #run(conversation: Conversation, message: Message): Promise<void> {
    const { id } = message;
    const abort = new AbortController();
    this.#running.set(id, abort);
    const onChange = (change: Partial<Message>) => this.#change(conversation.id, id, change);
    const { signal } = abort;
    const end = await runAnswer(this.#api, { conversation, message, signal, onChange });
    this.#running.delete(id);
    if (end === "key") this.needsKey = true;
    if (end === "early") setTimeout(() => this.#runWaiting(), AGAIN_MS);
    this.#notify();
    this.#store.flush();
  }

  /** Takes over what another tab has written, unless this one has an answer under way there. */
  #adopt(id: string, conversation: Conversation | undefined): void {
    const own = this.#find(id);
    if (own?.messages.some((message) => this.#running.has(message.id))) return;
    if (conversation !== undefined) return this.#place(conversation);
    this.#conversations = this.#conversations.filter((other) => other.id !== id);
    if (this.#shown.id === id) this.#shown = newConversation(this.#shown.settings);
    this.#notify();
  }

  #find(id: string): Conversation | undefined {
    return this.#conversations.find((conversation) => conversation.id === id);
  }

  #change(conversationId: string, messageId: string, change: Partial<Message>): void {
    const conversation = this.#find(conversationId);
    if (conversation !== undefined) this.#put(withChange(conversation, messageId, change));
  }

  #update(conversation: Conversation): void {
    if (conversation.messages.length > 0) this.#put(conversation);
    else this.#shown = conversation;
    this.#notify();
  }

  /** Keeps a conversation's latest form. */
  #put(conversation: Conversation): void {
    this.#store.save(conversation);
    this.#place(conversation);
  }

  /** Puts a conversation in its place in time. */
  #place(conversation: Conversation): void {
    const others = this.#conversations.filter(({ id }) => id !== conversation.id);
    const at = others.findIndex(({ updated }) => updated <= conversation.updated);
    this.#conversations = at < 0
      ? [...others, conversation]
      : others.toSpliced(at, 0, conversation);
    if (this.#shown.id === conversation.id) this.#shown = conversation;
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}
