import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Environment } from "../../src/core/environment.ts";
import { HubClient } from "../../src/hub/hub_client.ts";
import { type HubSettings, hubSettings } from "../../src/hub/hub_settings.ts";

/** One request as it arrived. */
export interface SeenRequest {
  /** `hub`, or `cdn`: the other host, to which large files are redirected. */
  readonly host: "hub" | "cdn";
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

/** What a request gets instead of its answer. */
export type Fault =
  /** A status, and perhaps headers and a body. */
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** The first bytes of the body, and then the connection is cut. */
  | { readonly cutAfter: number }
  /** The first bytes, and then nothing. */
  | { readonly stallAfter: number }
  /** Other bytes of the same length. */
  | { readonly garble: true }
  /** The answer, but not before this settles. */
  | { readonly after: Promise<void> }
  /** The whole body, whatever range was asked for. */
  | { readonly ignoreRange: true };

interface Repo {
  /** Files by revision's commit. */
  readonly commits: Map<string, Map<string, Uint8Array>>;
  readonly refs: Map<string, string>;
  gate: "open" | "gated" | "private";
}

const encoder = new TextEncoder();

/**
 * A server that speaks the hub's protocol on 127.0.0.1, and a second one at `localhost` for what is
 * large, as a content delivery network. Files ending in `.safetensors` and `.gguf` are large.
 */
export class FakeHub implements AsyncDisposable {
  readonly #hub: Server;
  readonly #cdn: Server;
  readonly #repos = new Map<string, Repo>();
  readonly #held = new Set<ServerResponse>();
  /** Every request so far. */
  readonly seen: SeenRequest[] = [];
  /** Files on a page of a listing. */
  pageSize = 1000;
  /** The token that opens what is gated or private. */
  token = "hf_right";
  /** Is asked for a fault before each answer. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  /** Changes an entry of a listing or an answer of the API. */
  alter: (path: string, json: unknown) => unknown = (_, json) => json;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer("hub", request, response));
    this.#cdn = createServer((request, response) => this.#answer("cdn", request, response));
  }

  static async start(): Promise<FakeHub> {
    const fake = new FakeHub();
    await Promise.all([listen(fake.#hub), listen(fake.#cdn)]);
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get cdnUrl(): string {
    return `http://localhost:${(this.#cdn.address() as AddressInfo).port}`;
  }

  /** Adds a commit to a repository, and lets a branch name it. Returns the commit. */
  commit(
    name: string,
    files: Readonly<Record<string, Uint8Array | string>>,
    branch = "main",
  ): string {
    const contents = new Map(
      Object.entries(files).map(([path, data]) => [
        path,
        typeof data === "string" ? encoder.encode(data) : data,
      ]),
    );
    const hash = createHash("sha1").update(name + branch);
    for (const [path, data] of contents) hash.update(path).update(data);
    const commit = hash.digest("hex");
    const repo = this.#repos.get(name) ?? { commits: new Map(), refs: new Map(), gate: "open" };
    repo.commits.set(commit, contents);
    repo.refs.set(branch, commit);
    this.#repos.set(name, repo);
    return commit;
  }

  /** Who may have a repository's files. */
  gate(name: string, gate: Repo["gate"]): void {
    this.#repos.get(name)!.gate = gate;
  }

  /** Paths of requests to one of the hosts, each after its method. */
  paths(host: SeenRequest["host"] = "hub"): string[] {
    return this.seen.filter((request) => request.host === host)
      .map(({ method, path }) => `${method} ${path}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const response of this.#held) response.destroy();
    await Promise.all([close(this.#hub), close(this.#cdn)]);
  }

  #answer(host: SeenRequest["host"], request: IncomingMessage, response: ServerResponse): void {
    const seen: SeenRequest = {
      host,
      method: request.method!,
      path: request.url!,
      authorization: request.headers.authorization,
      range: request.headers.range,
    };
    this.seen.push(seen);
    const fault = this.fault(seen);
    const answer = () => {
      if (host === "cdn") this.#answerBlob(seen, response, fault);
      else this.#answerHub(seen, response, fault);
    };
    if (fault !== undefined && "status" in fault) {
      response.writeHead(fault.status, fault.headers ?? {}).end(fault.body);
    } else if (fault !== undefined && "after" in fault) fault.after.then(answer);
    else answer();
  }

  #answerHub(seen: SeenRequest, response: ServerResponse, fault: Fault | undefined): void {
    const url = new URL(seen.path, this.url);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(\w+)(?:\/(.+))?$/.exec(url.pathname);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    if (url.pathname === "/api/models") return this.#search(url, response);
    const name = api?.[1] ?? file?.[1];
    const repo = name === undefined ? undefined : this.#repos.get(name);
    const isAllowed = seen.authorization === `Bearer ${this.token}`;
    if (repo === undefined || repo.gate === "private" && !isAllowed) {
      return refuse(response, seen.authorization === undefined ? 401 : 404, "RepoNotFound");
    }
    if (api !== null && api[2] === "refs") return this.#refs(repo, response);
    const revision = decodeURIComponent(api?.[3] ?? file![2]!);
    const commit = repo.refs.get(revision) ?? revision;
    const files = repo.commits.get(commit);
    if (files === undefined) return refuse(response, 404, "RevisionNotFound");
    if (api !== null && api[2] === "revision") {
      return this.#revision({ id: name!, sha: commit }, files, url, response);
    }
    if (api !== null) return this.#tree(files, url, response);
    if (repo.gate === "gated" && !isAllowed) {
      return refuse(response, seen.authorization === undefined ? 401 : 403, "GatedRepo");
    }
    this.#resolve({ commit, files, path: decodeURIComponent(file![3]!) }, seen, response, fault);
  }

  #resolve(
    { commit, files, path }: {
      readonly commit: string;
      readonly files: ReadonlyMap<string, Uint8Array>;
      readonly path: string;
    },
    seen: SeenRequest,
    response: ServerResponse,
    fault: Fault | undefined,
  ): void {
    response.setHeader("x-repo-commit", commit);
    const data = files.get(path);
    if (data === undefined) return refuse(response, 404, "EntryNotFound");
    if (!isLarge(path)) {
      response.setHeader("etag", `"${gitBlobId(data)}"`);
      return this.#send(data, seen, response, fault);
    }
    response.writeHead(302, {
      location: `${this.cdnUrl}/${sha256(data)}`,
      "x-linked-etag": `"${sha256(data)}"`,
      "x-linked-size": String(data.length),
    }).end();
  }

  #answerBlob(seen: SeenRequest, response: ServerResponse, fault: Fault | undefined): void {
    for (const { commits } of this.#repos.values()) {
      for (const files of commits.values()) {
        for (const data of files.values()) {
          if (`/${sha256(data)}` === seen.path) return this.#send(data, seen, response, fault);
        }
      }
    }
    refuse(response, 404, "NotFound");
  }

  #send(
    whole: Uint8Array,
    { method, range }: SeenRequest,
    response: ServerResponse,
    fault: Fault | undefined,
  ): void {
    const heeds = range !== undefined && !(fault !== undefined && "ignoreRange" in fault);
    const begin = heeds ? Number(/^bytes=(\d+)-$/.exec(range)![1]) : 0;
    const data = fault !== undefined && "garble" in fault
      ? whole.map((byte) => byte ^ 1).subarray(begin)
      : whole.subarray(begin);
    if (heeds) {
      response.setHeader("content-range", `bytes ${begin}-${whole.length - 1}/${whole.length}`);
    }
    response.writeHead(heeds ? 206 : 200, { "content-length": String(data.length) });
    if (method === "HEAD") return void response.end();
    if (fault !== undefined && "cutAfter" in fault) {
      return void response.write(data.subarray(0, fault.cutAfter), () => response.destroy());
    }
    if (fault !== undefined && "stallAfter" in fault) {
      this.#held.add(response);
      return void response.write(data.subarray(0, fault.stallAfter));
    }
    response.end(data);
  }

  #search(url: URL, response: ServerResponse): void {
    const text = url.searchParams.get("search")!.toLowerCase();
    const names = [...this.#repos.keys()].filter((name) => name.toLowerCase().includes(text));
    this.#json(url, names.map((id) => ({ id })), response);
  }

  #refs({ refs }: Repo, response: ServerResponse): void {
    const branches = [...refs].map(([name, targetCommit]) => ({ name, targetCommit }));
    response.end(JSON.stringify({ branches, tags: [] }));
  }

  #revision(
    model: { readonly id: string; readonly sha: string },
    files: ReadonlyMap<string, Uint8Array>,
    url: URL,
    response: ServerResponse,
  ): void {
    const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
    this.#json(url, { ...model, siblings }, response);
  }

  #tree(files: ReadonlyMap<string, Uint8Array>, url: URL, response: ServerResponse): void {
    const first = Number(url.searchParams.get("cursor") ?? 0);
    const entries = [...files].slice(first, first + this.pageSize).map(([path, data]) => ({
      type: "file",
      path,
      size: data.length,
      oid: gitBlobId(data),
      ...(isLarge(path) ? { lfs: { oid: sha256(data), size: data.length, pointerSize: 134 } } : {}),
    }));
    if (first + this.pageSize < files.size) {
      const next = new URL(url);
      next.searchParams.set("cursor", String(first + this.pageSize));
      response.setHeader("link", `<${next}>; rel="next"`);
    }
    this.#json(url, entries, response);
  }

  #json(url: URL, value: unknown, response: ServerResponse): void {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(this.alter(url.pathname, value)));
  }
}

/** A fake hub with a cache folder of its own. */
export class HubRig implements AsyncDisposable {
  readonly hub: FakeHub;
  /** `HF_HOME`. */
  readonly home: string;

  private constructor(hub: FakeHub, home: string) {
    this.hub = hub;
    this.home = home;
  }

  static async start(): Promise<HubRig> {
    return new HubRig(await FakeHub.start(), await Deno.makeTempDir());
  }

  /** Variables for a process that uses both. */
  get env(): Record<string, string> {
    return { HF_HOME: this.home, HF_ENDPOINT: this.hub.url };
  }

  get cacheDir(): string {
    return `${this.home}/hub`;
  }

  settings(changes: Partial<HubSettings> = {}, env: Environment = {}): HubSettings {
    return { ...hubSettings({ ...this.env, ...env }), ...changes };
  }

  /** A client that waits for nothing between its tries. */
  client(changes: Partial<HubSettings> = {}, signal?: AbortSignal): HubClient {
    const pause = () => Promise.resolve();
    return new HubClient(this.settings(changes), {
      pause,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hub[Symbol.asyncDispose]();
    await Deno.remove(this.home, { recursive: true });
  }
}

/** The smallest repository that a reference without a selector accepts. */
export function tinyRepo(weights: Uint8Array = pattern(5000)): Record<string, Uint8Array | string> {
  return {
    "README.md": "# Tiny",
    "config.json": '{"model_type": "llama"}',
    "tokenizer.json": "{}",
    "model.safetensors": weights,
    "pytorch_model.bin": "pickled",
    "onnx/model.onnx": "onnx",
  };
}

/** Bytes that differ at every offset below 64 KiB, mostly. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 17 + seed * 101) & 255);
}

/** Of git's blob with that content. */
export function gitBlobId(data: Uint8Array): string {
  return createHash("sha1").update(`blob ${data.length}\0`).update(data).digest("hex");
}

/** In hexadecimal. */
export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function isLarge(path: string): boolean {
  return /\.(safetensors|gguf)$/.test(path);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "x-error-code": code, "x-error-message": `${code} it is` }).end();
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
