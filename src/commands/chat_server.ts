// deno-lint-ignore-file no-console -- how far the start of a model is, is shown on standard error
import type { ChatConfig } from "../core/chat_config.ts";
import { OpenAiClient } from "../client/openai_client.ts";
import { accessRules } from "../server/access_rules.ts";
import { consentOf, findModel } from "../server/find_model.ts";
import { createServer } from "../server/server.ts";
import { requirePermissions } from "./permissions.ts";
import { engineNeeds } from "./serve_permissions.ts";
import { clientOf, modelOf } from "./server_client.ts";

/** The server that answers a chat: one that runs elsewhere, or one in this process. */
export interface ChatServer {
  readonly client: OpenAiClient;
  /** The model's name, as requests give it. */
  readonly model: string;
  /** It takes `explain`. */
  readonly explains: boolean;
  /** One line on what answers. */
  readonly description: string;
  stop(): Promise<void>;
}

/** A server in this process has no address; its own gates see a local one. */
const INSIDE = "http://localhost/v1";

/**
 * Opens the server that a chat asks.
 *
 * @param progress is told each phase of a model's start as it begins.
 * @throws {StartupError} where the server cannot be reached, or the model cannot be served.
 */
export async function openChatServer(
  config: ChatConfig,
  progress: (phase: string) => void,
): Promise<ChatServer> {
  return config.url === undefined
    ? await startModel(config, progress)
    : await connect(config, config.url);
}

async function connect({ apiKey, model: named }: ChatConfig, url: string): Promise<ChatServer> {
  const client = clientOf({ url, apiKey });
  const model = await modelOf(client, named);
  return {
    client,
    model,
    explains: await client.explains().catch(() => false),
    description: `${model} at ${client.baseUrl}`,
    stop: () => Promise.resolve(),
  };
}

/** The same wiring as `quire serve`, without an address. */
async function startModel(
  { engine, model }: ChatConfig,
  progress: (phase: string) => void,
): Promise<ChatServer> {
  requirePermissions(engineNeeds());
  const directory = await findModel(model, consentOf(engine));
  const access = accessRules(engine, { apiKeys: [], adminKeys: [] }, "localhost");
  const server = await createServer({ ...engine, command: "serve" }, { access, directory }, {
    onProgress: progress,
    onGivenUp: (reason) => console.error(`error: The engine is given up: ${reason}`),
  });
  const info = await server.ready;
  const client = new OpenAiClient({
    baseUrl: INSIDE,
    fetch: (request) => server.app.fetch(request),
  });
  return {
    client,
    model: server.modelName,
    explains: true,
    description: `${server.modelName} on ${info.device}`,
    stop: () => server.stop(0),
  };
}
