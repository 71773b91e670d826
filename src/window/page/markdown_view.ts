/// <reference lib="dom" />
import { html } from "htm/preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Token, Tokens } from "marked";
import { Icon } from "./icons.ts";
import { blocksOf, elementsOf, isCode } from "./markdown.ts";

/** How long a button says that something was copied, ms. */
const COPIED_MS = 1500;

/** A text of markdown. While it grows only its last block is drawn anew. */
export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => blocksOf(text), [text]);
  return html`<div class="markdown">
    ${
    blocks.map((block, i) =>
      isCode(block)
        ? html`<${CodeBlock} key=${i} block=${block} />`
        : html`<${Block} key=${i} block=${block} />`
    )
  }
  </div>`;
}

function Block({ block }: { block: Token }) {
  const element = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => element.current!.replaceChildren(elementsOf(block)), [block.raw]);
  return html`<div class="block" ref=${element}></div>`;
}

function CodeBlock({ block }: { block: Tokens.Code }) {
  const language = /^[\w+#.-]{1,30}/.exec(block.lang ?? "")?.[0] ?? "text";
  return html`
    <figure class="code">
      <figcaption>
        <span>${language}</span>
        <${CopyButton} text=${block.text} label="Copy code" />
      </figcaption>
      <pre tabindex="0"><code>${block.text}</code></pre>
    </figure>
  `;
}

/** A button that copies a text and says so. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [isCopied, setIsCopied] = useState(false);
  const copy = async () => {
    await copyText(text);
    setIsCopied(true);
    setTimeout(() => setIsCopied(false), COPIED_MS);
  };
  const words = isCopied ? "Copied" : label;
  return html`
    <button class="icon-button small" type="button" title=${words} aria-label=${words}
      onClick=${copy}>
      <${Icon} name=${isCopied ? "check" : "copy"} />
    </button>
  `;
}

/** Copies a text, also on a page without https, where browsers have no clipboard. */
async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
