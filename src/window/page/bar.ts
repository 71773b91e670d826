/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import type { Api } from "./api.ts";
import { Icon } from "./icons.ts";
import type { ServerState } from "./server_state.ts";

/** The views of the window. */
export type TabName = "chat" | "machine";

const TABS: readonly (readonly [TabName, string])[] = [["chat", "Chat"], [
  "machine",
  "Machine room",
]];

/** The bar at the top: views, the model and how it is, the API, the theme. */
export function Bar({ api, server, tab, onTab }: {
  api: Api;
  server: ServerState;
  tab: TabName;
  onTab: (name: TabName) => void;
}) {
  return html`
    <header class="bar">
      <div class="brand"><img src="window/icon.svg" alt="" /><span>Quire</span></div>
      <${Tabs} tab=${tab} onTab=${onTab} />
      <div class="bar-end">
        <${ModelName} api=${api} server=${server} />
        <a class="icon-button api-link" href="docs" title="The API" aria-label="The API"
        ><${Icon} name="book" /></a>
        <${ThemeButton} />
      </div>
    </header>
  `;
}

function Tabs({ tab, onTab }: { tab: TabName; onTab: (name: TabName) => void }) {
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    const next = tab === "chat" ? "machine" : "chat";
    onTab(next);
    document.getElementById(`${next}-tab`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label="Views" onKeyDown=${onKeyDown}>
    ${
    TABS.map(([name, label]) =>
      html`
        <button
          id="${name}-tab"
          class="tab"
          type="button"
          role="tab"
          aria-selected=${String(tab === name)}
          aria-controls="${name}-panel"
          tabindex=${tab === name ? 0 : -1}
          onClick=${() => onTab(name)}
        >${label}</button>
      `
    )
  }
  </div>`;
}

function ModelName({ api, server }: { api: Api; server: ServerState }) {
  const [name, setName] = useState("");
  useEffect(() => {
    if (server.state !== "ready") return;
    const ask = () =>
      void api.fetchJson("v1/models").then(({ data }) => setName(data[0]?.id ?? ""))
        .catch(() => {});
    ask();
    return api.onKey(ask);
  }, [api, server.state]);
  const kind = server.state === "ready"
    ? "ready"
    : server.state === "failed" || server.state === "away"
    ? "failed"
    : "starting";
  const words = server.state === "ready" ? name : server.reason ?? "Asking the server";
  return html`
    <div class="model" role="status" title=${words}>
      <span class="dot ${kind}"></span>
      <span class="model-name">${words}</span>
    </div>
  `;
}

function ThemeButton() {
  const [isDark, setIsDark] = useState(() =>
    (document.documentElement.dataset.theme ??
      (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark"
  );
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => {
      if (document.documentElement.dataset.theme === undefined) setIsDark(system.matches);
    };
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, []);
  const turn = () => {
    const theme = isDark ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("quire.theme", theme);
    setIsDark(!isDark);
  };
  const label = isDark ? "Light theme" : "Dark theme";
  return html`
    <button class="icon-button" type="button" title=${label} aria-label=${label}
      onClick=${turn}>
      <${Icon} name=${isDark ? "sun" : "moon"} />
    </button>
  `;
}
