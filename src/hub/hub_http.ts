import { VERSION } from "../core/version.ts";
import { Backoff, type BackoffOptions } from "./backoff.ts";
import {
  HttpFailure,
  HubError,
  isTransient,
  isUnreachable,
  NetworkError,
  ProtocolError,
  StallError,
} from "./hub_errors.ts";
import type { HubSettings } from "./hub_settings.ts";

/** One request. */
export interface HubRequest {
  readonly url: URL;
  readonly method?: "GET" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  /** How long the answer's head may take, and later each piece of its body, ms. */
  readonly timeoutMs: number;
  /** `hub`: a redirect to another host is the answer. `all`: it is followed, without the token. */
  readonly follow?: "hub" | "all";
}

/** An answer with a body that is read piece by piece. */
export interface HubResponse {
  readonly status: number;
  readonly headers: Headers;
  /** Where it came from, after redirects. */
  readonly url: URL;
  /** @throws {StallError} when no piece arrives within the request's time. */
  chunks(): AsyncGenerator<Uint8Array>;
  /** Lets go of a body that is not read. */
  cancel(): Promise<void>;
}

/** How requests are repeated and ended. */
export interface HubHttpOptions extends BackoffOptions {
  readonly signal?: AbortSignal;
}

/** Whole files are wanted as they are: sizes and ranges count their own bytes. */
const COMMON_HEADERS = { "accept-encoding": "identity", "user-agent": `quire/${VERSION}` };
const MAX_REDIRECTS = 8;
/** Tries of a request to a place where nothing answers, at the start. */
const MAX_NUM_UNREACHABLE = 2;

/** Requests to the hub: with the token where it belongs, and repeated where that may help. */
export class HubHttp {
  readonly #settings: HubSettings;
  readonly #options: HubHttpOptions;
  readonly #origin: string;

  constructor(settings: HubSettings, options: HubHttpOptions = {}) {
    this.#settings = settings;
    this.#options = options;
    this.#origin = new URL(settings.endpoint).origin;
  }

  /** The signal that ends all requests. */
  get signal(): AbortSignal | undefined {
    return this.#options.signal;
  }

  /** A new count of failures, for one request or one download. */
  backoff(): Backoff {
    return new Backoff(this.#options);
  }

  /**
   * Sends a request until it is answered.
   *
   * @throws {HttpFailure} for a status other than 2xx (and 3xx with `follow: "hub"`).
   * @throws {StallError | NetworkError} when there is no answer, after repeated tries.
   */
  async send(request: HubRequest): Promise<HubResponse> {
    const backoff = this.backoff();
    for (;;) {
      try {
        return await this.sendOnce(request);
      } catch (error) {
        await this.afterFailure(error, backoff, MAX_NUM_UNREACHABLE);
      }
    }
  }

  /**
   * Waits where a failure may pass.
   *
   * @param maxNumUnreachable tries that find nothing listening.
   * @throws what failed, where another try would not help.
   */
  async afterFailure(error: unknown, backoff: Backoff, maxNumUnreachable?: number): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    if (!isTransient(error)) throw error;
    await backoff.afterFailure(error, {
      signal,
      ...(error instanceof HttpFailure ? { retryAfterMs: error.retryAfterMs } : {}),
      ...(maxNumUnreachable !== undefined && isUnreachable(error)
        ? { maxNumFailures: maxNumUnreachable }
        : {}),
    });
  }

  /** As {@link send}, without another try. */
  async sendOnce(request: HubRequest): Promise<HubResponse> {
    let { url } = request;
    for (let i = 0; i <= MAX_REDIRECTS; i++) {
      const response = await this.#fetch(url, request);
      const location = response.headers.get("location");
      const isRedirect = response.status >= 300 && response.status < 400 && location !== null;
      if (!isRedirect) return await checked(response, request.url);
      const target = URL.parse(location, url);
      if (target === null) throw new ProtocolError(`a redirect to ${JSON.stringify(location)}`);
      if (request.follow !== "all" && target.origin !== url.origin) return response;
      await response.cancel();
      url = target;
    }
    throw new ProtocolError(`more than ${MAX_REDIRECTS} redirects`);
  }

  async #fetch(url: URL, { method = "GET", headers, timeoutMs }: HubRequest): Promise<HubResponse> {
    requireNet(url);
    const controller = new AbortController();
    const { signal } = this.#options;
    const stalled = new StallError(`${url.host} sent nothing for ${timeoutMs / 1000} s`);
    const timer = setTimeout(() => controller.abort(stalled), timeoutMs);
    try {
      const response = await fetch(url, {
        method,
        headers: { ...headers, ...COMMON_HEADERS, ...this.#authorization(url) },
        redirect: "manual",
        signal: signal === undefined
          ? controller.signal
          : AbortSignal.any([signal, controller.signal]),
      });
      return hubResponse(response, { url, timeoutMs, controller });
    } catch (error) {
      // Deno tells cut connections and failed look-ups as TypeErrors.
      throw error instanceof TypeError ? NetworkError.of(error) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The token goes to the endpoint alone, never to a host that a redirect names. */
  #authorization({ origin }: URL): Record<string, string> {
    const { token } = this.#settings;
    return token !== undefined && origin === this.#origin
      ? { authorization: `Bearer ${token}` }
      : {};
  }
}

/**
 * All of a body as text.
 *
 * @throws {ProtocolError} when it is longer than `maxBytes`.
 */
export async function readText(response: HubResponse, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let numBytes = 0;
  for await (const chunk of response.chunks()) {
    numBytes += chunk.length;
    if (numBytes > maxBytes) {
      throw new ProtocolError(`${response.url.pathname} has more than ${maxBytes} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function hubResponse(
  response: Response,
  { url, timeoutMs, controller }: {
    readonly url: URL;
    readonly timeoutMs: number;
    readonly controller: AbortController;
  },
): HubResponse {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    if (response.body === null) return;
    const reader = response.body.getReader();
    const stalled = new StallError(`${url.host} sent nothing for ${timeoutMs / 1000} s`);
    try {
      for (;;) {
        const timer = setTimeout(() => controller.abort(stalled), timeoutMs);
        const { done, value } = await reader.read().finally(() => clearTimeout(timer));
        if (done) return;
        yield value;
      }
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      throw error instanceof TypeError ? NetworkError.of(error) : error;
    } finally {
      await reader.cancel().catch(() => {});
    }
  }
  return {
    status: response.status,
    headers: response.headers,
    url,
    chunks,
    cancel: async () => {
      await response.body?.cancel().catch(() => {});
    },
  };
}

/** Turns an answer that refuses into an error. */
async function checked(response: HubResponse, asked: URL): Promise<HubResponse> {
  const { status, headers, url } = response;
  if (status >= 200 && status < 300) return response;
  await response.cancel();
  throw new HttpFailure({
    status,
    host: url.host,
    isRedirected: url.origin !== asked.origin,
    code: headers.get("x-error-code") ?? undefined,
    retryAfterMs: retryAfterOf(headers.get("retry-after")) ??
      (status === 429 ? resetAfterOf(headers.get("ratelimit")) : undefined),
    message: headers.get("x-error-message") ?? `status ${status}`,
  });
}

/** `Retry-After` in ms: a number of seconds, or a date. */
function retryAfterOf(text: string | null): number | undefined {
  if (text === null) return undefined;
  if (/^\d+$/.test(text.trim())) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** Time until a limit ends, ms, as in `"api";r=0;t=55` (IETF draft httpapi-ratelimit-headers). */
function resetAfterOf(text: string | null): number | undefined {
  const [, seconds] = /;\s*t\s*=\s*(\d+)/.exec(text ?? "") ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** Asked beforehand, since Deno would otherwise prompt at the terminal. */
function requireNet({ host, hostname, port, protocol }: URL): void {
  const asked = `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
  if (Deno.permissions.querySync({ name: "net", host: asked }).state === "granted") return;
  throw new HubError(
    "permission",
    `Not allowed to reach ${host}: start with "deno run -A main.ts", or with --allow-net=${host}`,
  );
}
