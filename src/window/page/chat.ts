/// <reference lib="dom" />
import { html } from "htm/preact";
import type { Api } from "./api.ts";
import type { ServerState } from "./server_state.ts";

/** The chat. */
export function Chat({ server }: { api: Api; server: ServerState }) {
  return html`<div class="chat">${server.phase ?? server.state}</div>`;
}
