/// <reference lib="dom" />
import { html } from "htm/preact";

/** Paths of the icons, drawn as lines of 1.6 in a square of 24. */
const PATHS = {
  book:
    "M12 6.5C10 5 7.5 4.5 4.5 4.7v13c3-.2 5.5.3 7.5 1.8 2-1.5 4.5-2 7.5-1.8v-13c-3-.2-5.5.3-7.5 1.8zm0 0v13",
  chevron: "m9 6 6 6-6 6",
  close: "m6 6 12 12M18 6 6 18",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "m5 12.5 4.5 4.5L19 7.5",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
  down: "M12 4v12m-5-5 5 5 5-5M5 20h14",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  list: "M4 6h16M4 12h16M4 18h10",
  moon: "M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5z",
  plus: "M12 5v14M5 12h14",
  retry: "M19 12a7 7 0 1 1-2.2-5.100M19 4v4h-4",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zm5-2 4 4",
  send: "M12 19V5m-6 6 6-6 6 6",
  sliders:
    "M4 7h9m5 0h2M4 17h2m5 0h9M13 7a2.5 2.5 0 1 0 5 0 2.5 2.5 0 1 0-5 0zM6 17a2.5 2.5 0 1 0 5 0 2.5 2.5 0 1 0-5 0z",
  stop: "M7 7h10v10H7z",
  sun:
    "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12 2.5v2m0 15v2m9.5-9.5h-2m-15 0h-2m16.2-6.7-1.4 1.4M6.7 17.300l-1.4 1.4m13.4 0-1.4-1.4M6.7 6.7 5.300 5.300",
  trash: "M5 7h14M10 7V4.5h4V7m-7 0 .8 12.5h8.4L17 7",
  up: "M12 20V8m-5 5 5-5 5 5M5 4h14",
  key: "M14.5 13.5a4.5 4.5 0 1 0-4-4L4 16v4h4v-2.5h2.5V15z",
} as const;

/** An icon of the window. */
export type IconName = keyof typeof PATHS;

/** An icon, which screen readers pass over: what holds it has a label. */
export function Icon({ name }: { name: IconName }) {
  return html`
    <svg
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d=${PATHS[name]} />
    </svg>
  `;
}
