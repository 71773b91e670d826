/// <reference lib="dom" />
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import type { ServerState } from "./server_state.ts";

/** What a start means, by the beginning of its phase. */
const PHASES: readonly (readonly [string, string])[] = [
  ["find the model", "Finding the model's files"],
  ["open device", "Opening the GPU"],
  ["load weights", "Loading the weights"],
  ["quantize", "Quantizing the weights"],
  ["tune kernels", "Timing kernels on this GPU, once"],
  ["compile kernels", "Compiling kernels"],
  ["warm up", "Warming up"],
];

/** How far the server is while it starts, or why it takes no requests. */
export function StartNotice({ server }: { server: ServerState }) {
  const { state, reason = "", phase = "", seconds } = server;
  if (state === "ready" || state === "unknown") return null;
  if (state !== "starting") {
    return html`
      <div class="notice" role="status">
        <h2>No model at present</h2>
        <p>${reason}</p>
      </div>
    `;
  }
  const percent = /(\d+) %/.exec(phase)?.[1];
  const words = PHASES.find(([begin]) => phase.startsWith(begin))?.[1] ?? phase;
  return html`
    <div class="notice" role="status">
      <h2>The model is loading</h2>
      <div class="progress ${percent === undefined ? "endless" : ""}" role="progressbar"
        aria-label="Loading" aria-valuenow=${percent}>
        <i style=${percent === undefined ? undefined : { width: `${percent}%` }}></i>
      </div>
      <p>${words}${percent === undefined ? "" : `, ${percent} %`}${seconds === undefined
        ? ""
        : ` · ${
          seconds.toFixed(0)
        } s`}. Write already: it is asked as soon as the model is there.</p>
    </div>
  `;
}

/** Asks for the key, where the server wants one. */
export function KeyNotice({ onKey }: { onKey: (key: string) => void }) {
  const [key, setKey] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    if (key.trim() !== "") onKey(key.trim());
  };
  return html`
    <form class="notice key-form" role="alert" onSubmit=${submit}>
      <h2>This server asks for a key</h2>
      <p>It is kept in this tab until you close it.</p>
      <div class="key-row">
        <input type="password" autocomplete="off" aria-label="API key" placeholder="API key"
          value=${key}
          onInput=${(event: Event) => setKey((event.target as HTMLInputElement).value)} />
        <button class="button primary" type="submit">Use it</button>
      </div>
    </form>
  `;
}

const BEGINNINGS = [
  "Tell me a story about a fox and a lantern.",
  "Tell me a story about a small boat on a big lake.",
  "Tell me a story about two friends and a kite.",
];

/** What an empty conversation shows. */
export function Welcome({ onChoose }: { onChoose: (text: string) => void }) {
  return html`
    <div class="welcome">
      <div class="welcome-inner">
        <img src="window/icon.svg" alt="" width="56" height="56" />
        <h2>What shall it be?</h2>
        <p>Conversations stay in this browser. Nothing leaves this server.</p>
        <div class="beginnings">
            ${BEGINNINGS.map((text) =>
              html`<button type="button" onClick=${() => onChoose(text)}>${text}</button>`
            )}
          </div>
      </div>
    </div>
  `;
}
