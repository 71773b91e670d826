/// <reference lib="dom" />

/** Where the key of this tab is kept; the browser forgets it when the tab closes. */
const KEY_ITEM = "quire.key";

/** An answer of the server that is no success. */
export class ApiError extends Error {
  readonly status: number;
  /** The error's code as the server names it, such as `invalid_api_key`. */
  readonly code: string | undefined;

  constructor(message: string, status: number, code?: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

/** The server behind the page, called with the key of this tab. */
export interface Api {
  /** The key that was entered; undefined where none was. */
  key(): string | undefined;
  setKey(key: string): void;
  /** Calls `listener` when a key was entered, until the returned function is called. */
  onKey(listener: () => void): () => void;
  /** Fetches a path of this server, relative to the page, with the key. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /**
   * The same, for JSON.
   *
   * @throws {ApiError} for any status but a success, with the server's own sentence.
   */
  // deno-lint-ignore no-explicit-any -- answers are JSON of many shapes
  fetchJson(path: string, init?: RequestInit): Promise<any>;
}

/** The API of the server that this page came from. */
export function createApi(): Api {
  const listeners = new Set<() => void>();
  const key = () => sessionStorage.getItem(KEY_ITEM) ?? undefined;
  const call = (path: string, init: RequestInit = {}) => {
    const headers = new Headers(init.headers);
    const own = key();
    if (own !== undefined) headers.set("authorization", `Bearer ${own}`);
    if (init.body !== undefined) headers.set("content-type", "application/json");
    return fetch(new URL(path.replace(/^\//, ""), document.baseURI), { ...init, headers });
  };
  return {
    key,
    setKey(value) {
      if (value === "") sessionStorage.removeItem(KEY_ITEM);
      else sessionStorage.setItem(KEY_ITEM, value);
      for (const listener of listeners) listener();
    },
    onKey(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    fetch: call,
    async fetchJson(path, init) {
      const response = await call(path, init);
      if (!response.ok) throw await errorOf(response);
      return await response.json();
    },
  };
}

/** The error that an answer tells of. */
export async function errorOf(response: Response): Promise<ApiError> {
  const body = await response.json().catch(() => undefined);
  const { message = `The server answers ${response.status}`, code } = body?.error ?? {};
  return new ApiError(message, response.status, code ?? undefined);
}
