import { baseUrlOf, OpenAiClient } from "../client/openai_client.ts";
import { StartupError } from "../core/errors.ts";
import { type Needs, netHost, requirePermissions } from "./permissions.ts";

/** The server that a command asks, as its flags name it. */
interface ServerFlags {
  readonly url: string;
  /** The first key is sent: the variable may hold a server's list, with settings behind each. */
  readonly apiKey?: string | undefined;
}

/**
 * A client of a server elsewhere.
 *
 * @param needs what the command must be allowed to do beside asking it.
 * @throws {StartupError} for what is no address, and where Deno does not allow it.
 */
export function clientOf({ url, apiKey }: ServerFlags, needs: Omit<Needs, "net"> = {}) {
  const baseUrl = baseUrlOf(url);
  requirePermissions({ net: [netHost(baseUrl)], ...needs });
  const key = apiKey?.split(/[\s,]/)[0];
  return new OpenAiClient({ baseUrl, fetch, ...(key === undefined ? {} : { apiKey: key }) });
}

/** The model that was asked for, or else the server's first. @throws {StartupError} */
export async function modelOf(client: OpenAiClient, named: string | undefined): Promise<string> {
  const model = named ?? (await client.models())[0];
  if (model !== undefined) return model;
  throw new StartupError(`${client.baseUrl}/models names no model: give one with --model`);
}
