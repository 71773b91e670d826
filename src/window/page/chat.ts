/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useMemo, useReducer, useState } from "preact/hooks";
import type { Api } from "./api.ts";
import { ChatModel } from "./chat_model.ts";
import { Composer } from "./composer.ts";
import { type Message, pathOf } from "./conversation.ts";
import { ConversationStore } from "./conversation_store.ts";
import { Icon } from "./icons.ts";
import { KeyNotice, StartNotice, Welcome } from "./notices.ts";
import type { ServerState } from "./server_state.ts";
import { type ModelProps, SettingsPanel } from "./settings_panel.ts";
import { Sidebar } from "./sidebar.ts";
import { Thread } from "./thread.ts";

/** Where a tab keeps which conversation it shows. */
const SHOWN_ITEM = "quire.shown";
/** Narrower than this the list of conversations lies over the chat, pixels. */
const NARROW = 900;

/** The chat: conversations at the left, messages in the middle, settings at the right. */
export function Chat({ api, server }: { api: Api; server: ServerState }) {
  const model = useChatModel(api, server);
  const props = useModelProps(api, server, model.needsKey);
  const [hasList, setHasList] = useState(innerWidth >= NARROW);
  const [hasSettings, setHasSettings] = useState(false);
  const { title } = model.shown;
  useEffect(() => void (document.title = title === "" ? "Quire" : `${title} · Quire`), [title]);
  const running = pathOf(model.shown).findLast(isRunning);
  const stop = () => running !== undefined && model.stop(running.id);
  /** Panels that lie over the chat go once they have served. */
  const uncover = () => {
    if (innerWidth >= NARROW) return;
    setHasList(false);
    setHasSettings(false);
  };
  useShortcuts({
    escape: () => running === undefined ? uncover() : stop(),
    search: () => {
      setHasList(true);
      setTimeout(() => document.querySelector<HTMLElement>(".search input")?.focus());
    },
  });
  return html`<div class="chat ${hasList ? "with-list" : ""} ${hasSettings ? "with-settings" : ""}">
    ${hasList ? html`<${Sidebar} model=${model} onChosen=${uncover} />` : null}
    ${hasList || hasSettings ? html`<div class="shade" onClick=${uncover}></div>` : null}
    <div class="middle">
      <${Head} model=${model} hasList=${hasList} hasSettings=${hasSettings}
        onList=${() => setHasList(!hasList)} onSettings=${() => setHasSettings(!hasSettings)} />
      <${Middle} model=${model} />
      <${Foot} api=${api} model=${model} server=${server} isBusy=${
    running !== undefined
  } onStop=${stop} />
    </div>
    ${
    hasSettings
      ? html`
        <${SettingsPanel} model=${model} props=${props}
          onClose=${() => setHasSettings(false)} />
      `
      : null
  }
  </div>`;
}

/** The messages; nothing until what the browser keeps has been read. */
function Middle({ model }: { model: ChatModel }) {
  const path = pathOf(model.shown);
  if (!model.isLoaded) return html`<div></div>`;
  if (path.length > 0) {
    return html`<${Thread} key=${model.shown.id} model=${model} path=${path} />`;
  }
  return html`<${Welcome} onChoose=${(text: string) => model.send(text)} />`;
}

/** The field, and above it what has to be known or done before an answer can come. */
function Foot({ api, model, server, isBusy, onStop }: {
  api: Api;
  model: ChatModel;
  server: ServerState;
  isBusy: boolean;
  onStop: () => void;
}) {
  const onKey = (key: string) => api.setKey(key);
  return html`
    <div class="foot">
      <div class="notices">
          <${StartNotice} server=${server} />
          ${model.needsKey ? html`<${KeyNotice} onKey=${onKey} />` : null}
        </div>
      <${Composer}
        conversationId=${model.shown.id}
        isBusy=${isBusy}
        onSend=${(text: string) => model.send(text)}
        onStop=${onStop}
        onEditLast=${editLast}
      />
      <${Words} path=${pathOf(model.shown)} />
    </div>
  `;
}

function Head({ model, hasList, hasSettings, onList, onSettings }: {
  model: ChatModel;
  hasList: boolean;
  hasSettings: boolean;
  onList: () => void;
  onSettings: () => void;
}) {
  return html`
    <div class="chat-head">
      <button class="icon-button" type="button" title="Conversations" aria-label="Conversations"
        aria-expanded=${String(hasList)} aria-controls="sidebar" onClick=${onList}
      ><${Icon} name="list" /></button>
      <h1>${model.shown.title || "New conversation"}</h1>
      <button class="icon-button" type="button" title="Settings" aria-label="Settings"
        aria-expanded=${String(hasSettings)} aria-controls="settings" onClick=${onSettings}
      ><${Icon} name="sliders" /></button>
    </div>
  `;
}

/** What a screen reader is told: that an answer runs, and how it ended. */
function Words({ path }: { path: readonly Message[] }) {
  const last = path.at(-1);
  const words = last === undefined || last.role === "user"
    ? ""
    : isRunning(last)
    ? "Answering"
    : last.status === "done"
    ? `Answer: ${last.content.slice(0, 1000)}`
    : "The answer has ended early";
  return html`<p class="visually-hidden" role="status">${words}</p>`;
}

function isRunning({ status }: Message): boolean {
  return status === "streaming" || status === "waiting";
}

function editLast(): void {
  const buttons = document.querySelectorAll<HTMLElement>('[aria-label="Edit and ask again"]');
  [...buttons].at(-1)?.click();
}

/** Escape, and Control or Command with K, wherever the focus is. */
function useShortcuts({ escape, search }: { escape: () => void; search: () => void }): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key === "Escape") escape();
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      search();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  });
}

/** The conversations; the chat is drawn anew once per frame in which they change. */
function useChatModel(api: Api, server: ServerState): ChatModel {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const model = useMemo(() => new ChatModel(api, new ConversationStore()), [api]);
  useEffect(() => {
    let frame = 0;
    const unsubscribe = model.subscribe(() => {
      sessionStorage.setItem(SHOWN_ITEM, model.shown.id);
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        redraw(0);
      });
    });
    model.load(sessionStorage.getItem(SHOWN_ITEM) ?? undefined);
    return unsubscribe;
  }, [model]);
  useEffect(() => model.setServerReady(server.state === "ready"), [model, server.state]);
  return model;
}

/** What the served model recommends; nothing until the server is ready and the key is known. */
function useModelProps(api: Api, { state }: ServerState, needsKey: boolean): ModelProps {
  const [props, setProps] = useState<ModelProps>({ canThink: false, defaults: {} });
  useEffect(() => {
    if (state !== "ready" || needsKey) return;
    api.fetchJson("props").then(({ default_generation_settings: given, chat_template }) => {
      const { repeat_penalty, ...defaults } = given.params;
      setProps({
        canThink: /enable_thinking/.test(chat_template ?? ""),
        contextLength: given.n_ctx,
        defaults: { ...defaults, repetition_penalty: repeat_penalty },
      });
    }).catch(() => {});
  }, [api, state, needsKey]);
  return props;
}
