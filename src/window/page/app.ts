/// <reference lib="dom" />
import { html, render } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Api, createApi } from "./api.ts";
import { Bar, type TabName } from "./bar.ts";
import { Chat } from "./chat.ts";
import { mount } from "./machine.ts";
import { useServerState } from "./server_state.ts";

/** The machine room, which takes part in nothing while it is not looked at. */
function MachinePanel({ api, isShown }: { api: Api; isShown: boolean }) {
  const element = useRef<HTMLElement>(null);
  useEffect(() => isShown ? mount(element.current!, api) : undefined, [api, isShown]);
  return html`
    <section
      id="machine-panel"
      class="panel"
      role="tabpanel"
      aria-labelledby="machine-tab"
      tabindex="0"
      ref=${element}
      hidden=${!isShown}
    ></section>
  `;
}

function App() {
  const api = useMemo(createApi, []);
  const server = useServerState(api);
  const [tab, setTab] = useState<TabName>(location.hash === "#machine" ? "machine" : "chat");
  const show = (name: TabName) => {
    history.replaceState(null, "", name === "machine" ? "#machine" : "#chat");
    setTab(name);
  };
  return html`
    <div class="frame">
      <${Bar} api=${api} server=${server} tab=${tab} onTab=${show} />
      <main>
        <section
          id="chat-panel"
          class="panel"
          role="tabpanel"
          aria-labelledby="chat-tab"
          hidden=${tab !== "chat"}
        >
          <${Chat} api=${api} server=${server} />
        </section>
        <${MachinePanel} api=${api} isShown=${tab === "machine"} />
      </main>
    </div>
  `;
}

render(html`<${App} />`, document.querySelector("#app")!);
