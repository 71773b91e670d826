// A file of the page is one import and one line of the table. As imports they belong to the module
// graph: they need no permission, and a compiled binary holds them.
import dompurify from "dompurify" with { type: "text" };
import htm from "htm" with { type: "text" };
import htmPreact from "htm/preact" with { type: "text" };
import marked from "marked" with { type: "text" };
import preact from "preact" with { type: "text" };
import preactHooks from "preact/hooks" with { type: "text" };
import api from "./page/api.ts" with { type: "text" };
import app from "./page/app.ts" with { type: "text" };
import bar from "./page/bar.ts" with { type: "text" };
import chat from "./page/chat.ts" with { type: "text" };
import icons from "./page/icons.ts" with { type: "text" };
import serverState from "./page/server_state.ts" with { type: "text" };
import chatCss from "./page/chat.css" with { type: "text" };
import frameCss from "./page/frame.css" with { type: "text" };
import icon from "./page/icon.svg" with { type: "text" };
import index from "./page/index.html" with { type: "text" };
import machineCss from "./page/machine.css" with { type: "text" };
import machine from "./page/machine.ts" with { type: "text" };
import theme from "./page/theme.ts" with { type: "text" };

/** The page itself, at `/`. */
export const INDEX = index;

/** Files of the page as they are written, by their paths below `/window/`. */
export const PAGE_FILES: Readonly<Record<string, string>> = {
  "api.ts": api,
  "app.ts": app,
  "bar.ts": bar,
  "chat.ts": chat,
  "icons.ts": icons,
  "server_state.ts": serverState,
  "chat.css": chatCss,
  "frame.css": frameCss,
  "icon.svg": icon,
  "machine.css": machineCss,
  "machine.ts": machine,
  "theme.ts": theme,
};

/** Libraries of the page, by the names under which its modules import them. */
export const LIBRARIES: Readonly<Record<string, string>> = {
  "dompurify": dompurify,
  "htm": htm,
  "htm/preact": htmPreact,
  "marked": marked,
  "preact": preact,
  "preact/hooks": preactHooks,
};
