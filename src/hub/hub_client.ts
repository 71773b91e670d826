import { z } from "zod";
import { HttpFailure, ProtocolError } from "./hub_errors.ts";
import { HubHttp, type HubHttpOptions, type HubResponse, readText } from "./hub_http.ts";
import type { HubSettings } from "./hub_settings.ts";

/** One file of a commit, as the hub lists it. */
export interface RepoFile {
  readonly path: string;
  /** Of the content, bytes. */
  readonly size: number;
  /** Of git's blob; for a large file of the pointer to it. */
  readonly blobId: string;
  /** Of a large file's content. */
  readonly sha256?: string;
}

/** What the hub says of one file before it is fetched. */
export interface FileMetadata {
  readonly commit: string;
  /** The name of its blob in the cache. */
  readonly etag: string;
  /** Bytes; absent where the hub does not say. */
  readonly size?: number;
}

/** A revision, resolved. */
export interface Revision {
  readonly commit: string;
  /** Paths of its files; of a large repository perhaps not all. */
  readonly paths: readonly string[];
}

/** Largest answer of the API that is read, bytes. */
const MAX_JSON_BYTES = 32 * 2 ** 20;
/** Most files of a repository that are listed; then the listing ends with an error. */
const MAX_NUM_FILES = 100_000;
const MAX_NUM_PAGES = 200;

const CommitId = z.string().regex(/^[0-9a-f]{40}$/);
const size = z.int().min(0);
const RevisionJson = z.object({
  sha: CommitId,
  siblings: z.array(z.object({ rfilename: z.string() })).default([]),
});
const TreeJson = z.array(z.object({
  type: z.string(),
  path: z.string(),
  size: size.default(0),
  oid: z.string(),
  lfs: z.object({ oid: z.string(), size }).nullish(),
}));
const SearchJson = z.array(z.object({ id: z.string() }));
const RefsJson = z.object({
  branches: z.array(z.object({ name: z.string() })).default([]),
  tags: z.array(z.object({ name: z.string() })).default([]),
});

/** The hub's endpoints that models need, for one repository at a time. */
export class HubClient {
  readonly settings: HubSettings;
  readonly http: HubHttp;

  constructor(settings: HubSettings, options: HubHttpOptions = {}) {
    this.settings = settings;
    this.http = new HubHttp(settings, options);
  }

  /** The commit of a revision, and its files' names. One request. */
  async revision(repo: string, revision: string): Promise<Revision> {
    const path = `/api/models/${repo}/revision/${encodeURIComponent(revision)}`;
    const { sha, siblings } = await this.#json(RevisionJson, path);
    return { commit: sha, paths: siblings.map(({ rfilename }) => rfilename).filter(isPrintable) };
  }

  /**
   * The files of a commit, page by page.
   *
   * @throws {ProtocolError} for a listing that does not end, or is of another form.
   */
  async files(repo: string, commit: string): Promise<RepoFile[]> {
    const files: RepoFile[] = [];
    let next: URL | undefined = this.#url(`/api/models/${repo}/tree/${commit}?recursive=true`);
    for (let i = 0; next !== undefined; i++) {
      if (i >= MAX_NUM_PAGES) throw new ProtocolError(`more than ${MAX_NUM_PAGES} pages of files`);
      const response = await this.#get(next);
      for (const entry of await parseBody(TreeJson, response)) {
        if (entry.type === "file" && isPrintable(entry.path)) files.push(toRepoFile(entry));
      }
      if (files.length > MAX_NUM_FILES) {
        throw new ProtocolError(`more than ${MAX_NUM_FILES} files`);
      }
      next = nextPage(response);
    }
    return files;
  }

  /**
   * What the hub says of a file; undefined where the commit has no such file.
   *
   * @throws {ProtocolError} for an answer without commit or etag: not from a hub.
   */
  async metadata(repo: string, revision: string, path: string): Promise<FileMetadata | undefined> {
    const response = await this.http.send({
      url: this.fileUrl(repo, revision, path),
      method: "HEAD",
      timeoutMs: this.settings.etagTimeoutMs,
      follow: "hub",
    }).catch(undefinedIfMissing);
    if (response === undefined) return undefined;
    await response.cancel();
    return toMetadata(response, path);
  }

  /** Where a file's content is. */
  fileUrl(repo: string, revision: string, path: string): URL {
    const quoted = path.split("/").map(encodeURIComponent).join("/");
    return this.#url(`/${repo}/resolve/${encodeURIComponent(revision)}/${quoted}`);
  }

  /** Names of models that resemble `text`, the best first. */
  async search(text: string): Promise<string[]> {
    const path = `/api/models?search=${encodeURIComponent(text)}&limit=20`;
    return (await this.#json(SearchJson, path)).map(({ id }) => id).filter(isPrintable);
  }

  /** Names of the branches and tags. */
  async revisions(repo: string): Promise<string[]> {
    const { branches, tags } = await this.#json(RefsJson, `/api/models/${repo}/refs`);
    return [...branches, ...tags].map(({ name }) => name).filter(isPrintable);
  }

  #url(path: string): URL {
    return new URL(this.settings.endpoint + path);
  }

  async #json<T extends z.ZodType>(schema: T, path: string): Promise<z.output<T>> {
    return await parseBody(schema, await this.#get(this.#url(path)));
  }

  #get(url: URL): Promise<HubResponse> {
    return this.http.send({ url, timeoutMs: this.settings.etagTimeoutMs });
  }
}

async function parseBody<T extends z.ZodType>(
  schema: T,
  response: HubResponse,
): Promise<z.output<T>> {
  const { pathname } = response.url;
  let json: unknown;
  try {
    json = JSON.parse(await readText(response, MAX_JSON_BYTES));
  } catch (error) {
    if (error instanceof SyntaxError) throw new ProtocolError(`${pathname} is not JSON`);
    throw error;
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new ProtocolError(`${pathname}: field "${path.join(".")}": ${message}`);
}

function toRepoFile({ path, size, oid, lfs }: z.output<typeof TreeJson>[number]): RepoFile {
  if (lfs === undefined || lfs === null) return { path, size, blobId: oid };
  return { path, size: lfs.size, blobId: oid, sha256: lfs.oid };
}

/** Whether a name can be shown at a terminal; none that is needed has control characters. */
function isPrintable(name: string): boolean {
  return !/\p{C}/u.test(name);
}

/** The page that a `Link` header calls the next, at the same place alone. */
function nextPage({ headers, url }: HubResponse): URL | undefined {
  const [, link] = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get("link") ?? "") ?? [];
  if (link === undefined) return undefined;
  const next = URL.parse(link, url);
  if (next?.origin !== url.origin) throw new ProtocolError("the next page lies on another host");
  return next;
}

function toMetadata({ status, headers }: HubResponse, path: string): FileMetadata {
  const isRedirect = status >= 300;
  const etag = headers.get("x-linked-etag") ?? headers.get("etag");
  const size = headers.get("x-linked-size") ?? (isRedirect ? null : headers.get("content-length"));
  const commit = headers.get("x-repo-commit") ?? "";
  if (!CommitId.safeParse(commit).success || etag === null) {
    throw new ProtocolError(`the answer for ${path} lacks X-Repo-Commit or an etag`);
  }
  return {
    commit,
    etag: etag.replace(/^W\//, "").replaceAll('"', ""),
    ...(/^\d{1,15}$/.test(size ?? "") ? { size: Number(size) } : {}),
  };
}

/** A missing file is an answer; a missing repository or revision is an error. */
function undefinedIfMissing(error: unknown): undefined {
  if (error instanceof HttpFailure && error.status === 404 && error.code === "EntryNotFound") {
    return undefined;
  }
  throw error;
}
