/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icons.ts";

/** Tallest that the field grows, pixels. */
const MAX_HEIGHT = 240;

/** The field for what is said next; its button stops an answer while one runs. */
export function Composer({ conversationId, isBusy, onSend, onStop, onEditLast }: {
  conversationId: string;
  isBusy: boolean;
  onSend: (text: string) => void;
  onStop: () => void;
  onEditLast: () => void;
}) {
  const [text, setText] = useState("");
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    // A touch keyboard opens when it is asked for, and a field that has the focus keeps it.
    const isTyping = document.activeElement?.matches("input, textarea, select");
    if (!isTyping && matchMedia("(hover: hover)").matches) area.current!.focus();
  }, [conversationId]);
  useLayoutEffect(() => {
    const { style } = area.current!;
    style.height = "0";
    style.height = `${Math.min(MAX_HEIGHT, area.current!.scrollHeight)}px`;
  }, [text]);
  const send = () => {
    if (text.trim() === "" || isBusy) return;
    onSend(text.trim());
    setText("");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
    if (event.key === "ArrowUp" && text === "") {
      event.preventDefault();
      onEditLast();
    }
  };
  return html`
    <form class="composer" onSubmit=${(event: Event) => (event.preventDefault(), send())}>
      <textarea
        id="composer"
        ref=${area}
        rows="1"
        placeholder="Write a message"
        aria-label="Message"
        value=${text}
        onInput=${(event: Event) => setText((event.target as HTMLTextAreaElement).value)}
        onKeyDown=${onKeyDown}
      ></textarea>
      <${SendButton} isBusy=${isBusy} isEmpty=${text.trim() === ""} onStop=${onStop} />
    </form>
  `;
}

/** Sends, or stops what runs: two buttons, so that a double click does not do both. */
function SendButton({ isBusy, isEmpty, onStop }: {
  isBusy: boolean;
  isEmpty: boolean;
  onStop: () => void;
}) {
  const [name, label, title] = isBusy
    ? ["stop", "Stop", "Stop (Escape)"]
    : ["send", "Send", "Send (Enter)"];
  return html`
    <button
      key=${name}
      class="send"
      type=${isBusy ? "button" : "submit"}
      aria-label=${label}
      title=${title}
      disabled=${!isBusy && isEmpty}
      onClick=${isBusy ? onStop : undefined}
    ><${Icon} name=${name} /></button>
  `;
}
