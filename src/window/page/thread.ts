/// <reference lib="dom" />
import { html } from "htm/preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ChatModel } from "./chat_model.ts";
import type { Message } from "./conversation.ts";
import { Icon } from "./icons.ts";
import { MessageView } from "./message_view.ts";

/** This near to its end the thread follows what comes, pixels. */
const NEAR = 80;

/** The messages of the shown branch, which scroll by themselves and follow an answer. */
export function Thread({ model, path }: { model: ChatModel; path: readonly Message[] }) {
  const element = useRef<HTMLDivElement>(null);
  const [isAtEnd, setIsAtEnd] = useState(true);
  const toEnd = () => element.current!.scrollTo({ top: element.current!.scrollHeight });
  const head = path.at(-1)!;
  useLayoutEffect(() => {
    if (isAtEnd) toEnd();
  }, [head.content, head.reasoning, head.status]);
  useLayoutEffect(toEnd, [path.length]);
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = element.current!;
    setIsAtEnd(scrollHeight - scrollTop - clientHeight < NEAR);
  };
  return html`<div class="thread-box">
    <div class="thread" ref=${element} onScroll=${onScroll} role="log" aria-live="off"
      aria-label="Messages" tabindex="0">
      <div class="thread-inner">
        ${
    path.map((message) =>
      html`<${MessageView} key=${message.id} model=${model} message=${message} />`
    )
  }
      </div>
    </div>
    ${
    isAtEnd ? null : html`
      <button class="icon-button to-end" type="button" aria-label="To the end" title="To the end"
        onClick=${toEnd}><${Icon} name="chevron" /></button>
    `
  }
  </div>`;
}
