// A file of the page is one import and one line of the table. As imports they belong to the module
// graph: they need no permission, and a compiled binary holds them.
import dompurify from "dompurify" with { type: "text" };
import htm from "htm" with { type: "text" };
import htmPreact from "htm/preact" with { type: "text" };
import idb from "idb" with { type: "text" };
import marked from "marked" with { type: "text" };
import preact from "preact" with { type: "text" };
import preactHooks from "preact/hooks" with { type: "text" };
import uplotCss from "uplot/dist/uPlot.min.css" with { type: "text" };
import uplot from "uplot/dist/uPlot.esm.js" with { type: "text" };
import answerRun from "./page/answer_run.ts" with { type: "text" };
import answerStream from "./page/answer_stream.ts" with { type: "text" };
import api from "./page/api.ts" with { type: "text" };
import app from "./page/app.ts" with { type: "text" };
import bar from "./page/bar.ts" with { type: "text" };
import cacheWords from "./page/cache_words.ts" with { type: "text" };
import chatCss from "./page/chat.css" with { type: "text" };
import chat from "./page/chat.ts" with { type: "text" };
import chatModel from "./page/chat_model.ts" with { type: "text" };
import composer from "./page/composer.ts" with { type: "text" };
import conversation from "./page/conversation.ts" with { type: "text" };
import conversationFile from "./page/conversation_file.ts" with { type: "text" };
import conversationStore from "./page/conversation_store.ts" with { type: "text" };
import eventStream from "./page/event_stream.ts" with { type: "text" };
import frameCss from "./page/frame.css" with { type: "text" };
import icon from "./page/icon.svg" with { type: "text" };
import icons from "./page/icons.ts" with { type: "text" };
import index from "./page/index.html" with { type: "text" };
import machineCss from "./page/machine.css" with { type: "text" };
import machine from "./page/machine.ts" with { type: "text" };
import machineActions from "./page/machine/actions.ts" with { type: "text" };
import machineAwayWords from "./page/machine/away_words.ts" with { type: "text" };
import machineBlockGrid from "./page/machine/block_grid.ts" with { type: "text" };
import machineBlockMap from "./page/machine/block_map.ts" with { type: "text" };
import machineChart from "./page/machine/chart.ts" with { type: "text" };
import machineCharts from "./page/machine/charts.ts" with { type: "text" };
import machineCodec from "./page/machine/codec.ts" with { type: "text" };
import machineColours from "./page/machine/colours.ts" with { type: "text" };
import machineFeed from "./page/machine/feed.ts" with { type: "text" };
import machineFormat from "./page/machine/format.ts" with { type: "text" };
import machineFrames from "./page/machine/frames.ts" with { type: "text" };
import machineLog from "./page/machine/log.ts" with { type: "text" };
import machineRequests from "./page/machine/requests.ts" with { type: "text" };
import machineTimelines from "./page/machine/timelines.ts" with { type: "text" };
import machineTree from "./page/machine/tree.ts" with { type: "text" };
import markdown from "./page/markdown.ts" with { type: "text" };
import markdownView from "./page/markdown_view.ts" with { type: "text" };
import messageView from "./page/message_view.ts" with { type: "text" };
import notices from "./page/notices.ts" with { type: "text" };
import requestBody from "./page/request_body.ts" with { type: "text" };
import serverState from "./page/server_state.ts" with { type: "text" };
import settingsPanel from "./page/settings_panel.ts" with { type: "text" };
import sidebar from "./page/sidebar.ts" with { type: "text" };
import theme from "./page/theme.ts" with { type: "text" };
import thread from "./page/thread.ts" with { type: "text" };

/** The page itself, at `/`. */
export const INDEX = index;

/** Files of the page as they are written, by their paths below `/window/`. */
export const PAGE_FILES: Readonly<Record<string, string>> = {
  "answer_run.ts": answerRun,
  "answer_stream.ts": answerStream,
  "api.ts": api,
  "app.ts": app,
  "bar.ts": bar,
  "cache_words.ts": cacheWords,
  "chat.css": chatCss,
  "chat.ts": chat,
  "chat_model.ts": chatModel,
  "composer.ts": composer,
  "conversation.ts": conversation,
  "conversation_file.ts": conversationFile,
  "conversation_store.ts": conversationStore,
  "event_stream.ts": eventStream,
  "frame.css": frameCss,
  "icon.svg": icon,
  "icons.ts": icons,
  "machine.css": machineCss,
  "machine.ts": machine,
  "machine/actions.ts": machineActions,
  "machine/away_words.ts": machineAwayWords,
  "machine/block_grid.ts": machineBlockGrid,
  "machine/block_map.ts": machineBlockMap,
  "machine/chart.ts": machineChart,
  "machine/charts.ts": machineCharts,
  "machine/codec.ts": machineCodec,
  "machine/colours.ts": machineColours,
  "machine/feed.ts": machineFeed,
  "machine/format.ts": machineFormat,
  "machine/frames.ts": machineFrames,
  "machine/log.ts": machineLog,
  "machine/requests.ts": machineRequests,
  "machine/timelines.ts": machineTimelines,
  "machine/tree.ts": machineTree,
  "markdown.ts": markdown,
  "markdown_view.ts": markdownView,
  "message_view.ts": messageView,
  "notices.ts": notices,
  "request_body.ts": requestBody,
  "server_state.ts": serverState,
  "settings_panel.ts": settingsPanel,
  "sidebar.ts": sidebar,
  "theme.ts": theme,
  "thread.ts": thread,
  "uplot.css": uplotCss,
};

/** Libraries of the page, by the names under which its modules import them. */
export const LIBRARIES: Readonly<Record<string, string>> = {
  "dompurify": dompurify,
  "htm": htm,
  "htm/preact": htmPreact,
  "idb": idb,
  "marked": marked,
  "preact": preact,
  "preact/hooks": preactHooks,
  "uplot": uplot,
};
