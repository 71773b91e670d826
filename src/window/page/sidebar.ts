/// <reference lib="dom" />
import { html } from "htm/preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { ChatModel } from "./chat_model.ts";
import { type Conversation, matches } from "./conversation.ts";
import { toFile } from "./conversation_file.ts";
import { Icon } from "./icons.ts";

/** The conversations that this browser keeps: a new one, a search, the list, files. */
export function Sidebar({ model, onChosen }: { model: ChatModel; onChosen: () => void }) {
  const [search, setSearch] = useState("");
  const { conversations, shown } = model;
  const found = useMemo(
    () => conversations.filter((conversation) => matches(conversation, search)),
    [conversations, search],
  );
  const choose = (id: string) => {
    model.show(id);
    onChosen();
  };
  return html`<nav class="sidebar" id="sidebar" aria-label="Conversations">
    <button class="button new-chat" type="button" onClick=${() => (model.startNew(), onChosen())}>
      <${Icon} name="plus" />New conversation
    </button>
    <label class="search">
      <${Icon} name="search" />
      <input
        type="search"
        placeholder="Search"
        aria-label="Search conversations"
        value=${search}
        onInput=${(event: Event) => setSearch((event.target as HTMLInputElement).value)}
      />
    </label>
    <ul class="conversations">
      ${
    found.map((conversation) =>
      html`
        <${Entry}
          key=${conversation.id}
          model=${model}
          conversation=${conversation}
          isShown=${conversation.id === shown.id}
          onChoose=${choose}
        />
      `
    )
  }
    </ul>
    ${
    found.length === 0
      ? html`<p class="none">${
        search === "" ? "Kept in this browser alone." : "Nothing found."
      }</p>`
      : null
  }
    ${
    model.isForgetful
      ? html`<p class="none" role="alert">This browser keeps nothing, or has no room: what you say now is
        gone when the tab closes.</p>`
      : null
  }
    <${Files} model=${model} />
  </nav>`;
}

function Entry({ model, conversation, isShown, onChoose }: {
  model: ChatModel;
  conversation: Conversation;
  isShown: boolean;
  onChoose: (id: string) => void;
}) {
  const { id, title } = conversation;
  const [isAsked, setIsAsked] = useState(false);
  const name = title || "Untitled";
  if (isAsked) {
    return html`
      <li class="entry asked">
        <span class="entry-name">Delete it?</span>
        <button class="button small danger" type="button" onClick=${() =>
          model.remove(id)}>Delete</button>
        <button class="button small" type="button" onClick=${() => setIsAsked(false)}>Keep</button>
      </li>
    `;
  }
  return html`
    <li class="entry ${isShown ? "shown" : ""}">
      <button
        class="entry-name"
        type="button"
        title=${name}
        aria-current=${isShown ? "true" : "false"}
        onClick=${() => onChoose(id)}
      >${name}</button>
      <button
        class="icon-button small"
        type="button"
        title="Delete"
        aria-label="Delete ${name}"
        onClick=${() => setIsAsked(true)}
      ><${Icon} name="trash" /></button>
    </li>
  `;
}

function Files({ model }: { model: ChatModel }) {
  const input = useRef<HTMLInputElement>(null);
  const [words, setWords] = useState("");
  const read = async () => {
    const [file] = input.current!.files!;
    if (file === undefined) return;
    try {
      const count = model.import(await file.text());
      setWords(`${count} ${count === 1 ? "conversation" : "conversations"} read.`);
    } catch (error) {
      setWords(error instanceof Error ? error.message : String(error));
    }
    input.current!.value = "";
  };
  const save = () => {
    const url = URL.createObjectURL(new Blob([toFile(model.conversations)]));
    const link = document.createElement("a");
    link.href = url;
    link.download = "quire-conversations.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  return html`
    <div class="files">
      <input ref=${input} type="file" accept=".json,application/json" hidden onChange=${read} />
      <button class="link-button" type="button" onClick=${() => input.current!.click()}>
          <${Icon} name="up" />Import
        </button>
      <button
        class="link-button"
        type="button"
        disabled=${model.conversations.length === 0}
        onClick=${save}
      ><${Icon} name="down" />Export</button>
      <p role="status">${words}</p>
    </div>
  `;
}
