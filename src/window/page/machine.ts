/// <reference lib="dom" />
import type { Api } from "./api.ts";

/**
 * Shows the machine room in `element`.
 *
 * @returns ends it: timers, streams and listeners.
 */
export function mount(element: HTMLElement, _api: Api): () => void {
  const note = document.createElement("p");
  note.className = "machine-empty";
  note.textContent = "The machine room is being furnished.";
  element.replaceChildren(note);
  return () => element.replaceChildren();
}
