/// <reference lib="dom" />
import { html } from "htm/preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ChatModel } from "./chat_model.ts";
import { type AnswerFigures, type Message, siblingsOf } from "./conversation.ts";
import { Icon, type IconName } from "./icons.ts";
import { CopyButton, Markdown } from "./markdown_view.ts";

interface MessageProps {
  readonly model: ChatModel;
  readonly message: Message;
}

/** A message with what can be done about it. */
export function MessageView({ model, message }: MessageProps) {
  const [isEdited, setIsEdited] = useState(false);
  const isUser = message.role === "user";
  const body = isEdited
    ? html`<${Editor} model=${model} message=${message} onEnd=${() => setIsEdited(false)} />`
    : isUser
    ? html`<div class="bubble">${message.content}</div>`
    : html`<${Answer} model=${model} message=${message} />`;
  return html`
    <article
      class="message ${message.role}"
      aria-label=${isUser ? "You" : "Answer"}
      aria-busy=${String(message.status === "streaming")}
    >
        ${body}
        ${isEdited
          ? null
          : html`<${Tools} model=${model} message=${message} onEdit=${() => setIsEdited(true)} />`}
      </article>
  `;
}

function Answer({ model, message }: MessageProps) {
  const { content, reasoning = "", status, error = "" } = message;
  const isEmpty = content === "" && reasoning === "";
  return html`<div class="answer">
    ${reasoning === "" ? null : html`<${Thought} text=${reasoning} isOpen=${content === ""} />`}
    ${
    isEmpty && (status === "streaming" || status === "waiting")
      ? html`<p class="pending"><i></i><i></i><i></i><span>${
        status === "waiting"
          ? (model.needsKey ? "Asked with the key" : "Asked as soon as the model is ready")
          : "Reading the prompt"
      }</span></p>`
      : html`<${Markdown} text=${content} />`
  }
    ${
    status === "stopped" || status === "cut" || status === "failed" || isAtLimit(message)
      ? html`<${Interrupted} model=${model} message=${message} words=${error} />`
      : null
  }
  </div>`;
}

/** Why an answer ended before its end, and the way on. */
function Interrupted({ model, message, words }: MessageProps & { words: string }) {
  const { id, status } = message;
  const isFollowed = model.shown.messages.some(({ parent }) => parent === id);
  const plain = status === "stopped"
    ? "Stopped."
    : status === "done"
    ? "At its limit of tokens."
    : "The answer was cut off.";
  return html`
    <div class="interrupted ${status}" role=${status === "failed" ? "alert" : "note"}>
      <span>${words === "" ? plain : words}</span>
      ${isFollowed ? null : html`
        <button class="button small" type="button" onClick=${() => model.goOn(message)}>
          ${status === "failed" ? "Try again" : "Continue"}
        </button>
      `}
    </div>
  `;
}

function isAtLimit({ status, figures }: Message): boolean {
  return status === "done" && figures?.finishReason === "length";
}

function Thought({ text, isOpen }: { text: string; isOpen: boolean }) {
  return html`
    <details class="thought" open=${isOpen}>
      <summary><${Icon} name="chevron" />${isOpen ? "Thinking" : "Thoughts"}</summary>
      <${Markdown} text=${text} />
    </details>
  `;
}

function Tools({ model, message, onEdit }: MessageProps & { onEdit: () => void }) {
  const isUser = message.role === "user";
  const isBusy = message.status === "streaming" || message.status === "waiting";
  return html`<footer class="tools">
    ${isUser ? null : html`<${Figures} figures=${message.figures} isBusy=${isBusy} />`}
    <div class="tool-buttons">
      <${Branches} model=${model} message=${message} />
      ${
    isBusy ? null : html`
      <${CopyButton} text=${message.content} label="Copy message" />
      <${Tool} name="edit" label=${isUser
        ? "Edit and ask again"
        : "Edit the answer"} onClick=${onEdit} />
      ${isUser ? null : html`
        <${Tool}
          name="retry"
          label="Answer again"
          onClick=${() => model.regenerate(message)}
        />
      `}
    `
  }
    </div>
  </footer>`;
}

function Tool({ name, label, onClick }: { name: IconName; label: string; onClick: () => void }) {
  return html`
    <button class="icon-button small" type="button" title=${label} aria-label=${label}
      onClick=${onClick}>
      <${Icon} name=${name} />
    </button>
  `;
}

/** The other tries at the same place. */
function Branches({ model, message }: MessageProps) {
  const tries = siblingsOf(model.shown, message);
  if (tries.length < 2) return null;
  const at = tries.findIndex(({ id }) => id === message.id);
  const step = (by: number, label: string, kind: string) =>
    html`
      <button
        class="icon-button small ${kind}"
        type="button"
        aria-label=${label}
        title=${label}
        disabled=${tries[at + by] === undefined}
        onClick=${() => model.showBranch(tries[at + by]!.id)}
      ><${Icon} name="chevron" /></button>
    `;
  return html`<span class="branches" role="group" aria-label="Versions">
    ${step(-1, "Previous version", "back")}
    <span aria-label="Version ${at + 1} of ${tries.length}">${at + 1}/${tries.length}</span>
    ${step(1, "Next version", "")}
  </span>`;
}

/** What an answer took; the cached part says why it was not more. */
function Figures({ figures, isBusy }: { figures: AnswerFigures | undefined; isBusy: boolean }) {
  if (figures === undefined) return html`<div class="figures"></div>`;
  const { answerTokens, tokensPerSecond, firstTokenMs, promptTokens, cachedTokens } = figures;
  const parts = [
    `${answerTokens} ${answerTokens === 1 ? "token" : "tokens"}`,
    ...(tokensPerSecond === undefined ? [] : [`${rounded(tokensPerSecond)} tokens/s`]),
    ...(firstTokenMs === undefined ? [] : [`first after ${duration(firstTokenMs)}`]),
  ];
  const words = figures.cacheWords ?? [];
  return html`<div class="figures">
    ${parts.map((part) => html`<span>${part}</span>`)}
    ${
    promptTokens === undefined || isBusy ? null : html`
      <details class="cache">
        <summary>${cachedTokens} of ${promptTokens} cached</summary>
        <div class="cache-words">${words.map((sentence) => html`<p>${sentence}</p>`)}</div>
      </details>
    `
  }
  </div>`;
}

function Editor({ model, message, onEnd }: MessageProps & { onEnd: () => void }) {
  const area = useRef<HTMLTextAreaElement>(null);
  // At once: who has begun to type keeps the selection.
  useLayoutEffect(() => {
    area.current!.focus();
    area.current!.setSelectionRange(message.content.length, message.content.length);
  }, []);
  const save = () => {
    const text = area.current!.value.trim();
    if (text !== "") model.edit(message, text);
    onEnd();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") onEnd();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
    if (event.key === "Escape" || event.key === "Enter") event.stopPropagation();
  };
  return html`
    <div class="editor">
      <textarea
        ref=${area}
        aria-label="The message, edited"
        rows=${Math.min(12, message.content.split("\n").length + 1)}
        defaultValue=${message.content}
        onKeyDown=${onKeyDown}
      ></textarea>
      <div class="editor-buttons">
        <button class="button" type="button" onClick=${onEnd}>Cancel</button>
        <button class="button primary" type="button" onClick=${save}>
            ${message.role === "user" ? "Ask again" : "Save as a version"}
          </button>
      </div>
    </div>
  `;
}

function rounded(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function duration(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
