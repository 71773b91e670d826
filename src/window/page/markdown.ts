/// <reference lib="dom" />
import DOMPurify, { type Config } from "dompurify";
import { Marked, type Token, type Tokens } from "marked";

/** Tags of HTML that models write between the lines of markdown, and that mean no harm. */
const HARMLESS_TAG = /^<\/?(br|sub|sup|kbd|mark)\s*\/?>$/i;

/**
 * What an answer may become: the elements of markdown, and nothing that loads, submits or frames.
 * The policy of the page stands behind it.
 */
const ALLOWED = {
  ALLOWED_TAGS: [
    ..."a p br hr em strong del code pre ul ol li blockquote h1 h2 h3 h4 h5 h6".split(" "),
    ..."table thead tbody tr th td sub sup kbd mark input span".split(" "),
  ],
  ALLOWED_ATTR: ["href", "title", "align", "start", "type", "checked", "disabled"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
} satisfies Config;

const marked = new Marked({
  gfm: true,
  renderer: {
    // Other HTML is shown as it was written: it is what the model said.
    html: ({ text, block }) => {
      if (HARMLESS_TAG.test(text.trim())) return text;
      return block ? `<p>${escape(text)}</p>` : escape(text);
    },
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
  },
});

/** The blocks of a text: paragraphs, lists, code. Those before the last stay as a text grows. */
export function blocksOf(text: string): Token[] {
  return marked.lexer(text).filter(({ type }) => type !== "space");
}

/** A block of code, which is shown with a button to copy it. */
export function isCode(block: Token): block is Tokens.Code {
  return block.type === "code";
}

/** A block as elements, without anything that could run, load or submit. */
export function elementsOf(block: Token): DocumentFragment {
  const fragment = DOMPurify.sanitize(marked.parser([block]), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const input of fragment.querySelectorAll("input")) {
    if (input.type === "checkbox") input.disabled = true;
    else input.remove();
  }
  for (const table of fragment.querySelectorAll("table")) {
    // Wide tables scroll by themselves, and a keyboard reaches them.
    const scroll = document.createElement("div");
    scroll.className = "table-scroll";
    scroll.tabIndex = 0;
    table.replaceWith(scroll);
    scroll.append(table);
  }
  return fragment;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
