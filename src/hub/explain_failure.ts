import { nearestName } from "../base/edit_distance.ts";
import type { HubClient } from "./hub_client.ts";
import {
  HttpFailure,
  HubError,
  NetworkError,
  ProtocolError,
  StallError,
  unreachableError,
} from "./hub_errors.ts";
import { DEFAULT_REVISION, type ModelReference } from "./model_reference.ts";
import { cachedRepos } from "./repo_cache.ts";

/**
 * The sentence for a failed request about a model, with the nearest names where a name was wrong.
 * Anything else is returned as it is.
 */
export async function explainFailure(
  error: unknown,
  client: HubClient,
  reference: ModelReference,
): Promise<unknown> {
  const { endpoint } = client.settings;
  if (error instanceof HubError) return error;
  if (error instanceof HttpFailure) return await explainStatus(error, client, reference);
  if (error instanceof ProtocolError) {
    return new HubError(
      "server",
      `${endpoint} does not answer as a hub of Hugging Face does (${error.message}): check ` +
        "HF_ENDPOINT and the proxy",
    );
  }
  if (error instanceof StallError || error instanceof NetworkError) {
    return unreachableError(endpoint, error);
  }
  // What the file system refuses has the system's own code.
  if (error instanceof Error && "code" in error && /^E[A-Z]+$/.test(String(error.code))) {
    return new HubError(
      "disk",
      `Cannot use the cache ${client.settings.cacheDir} (${error.message}): make room and access ` +
        "there, or set HF_HOME to another folder",
    );
  }
  return error;
}

async function explainStatus(
  failure: HttpFailure,
  client: HubClient,
  reference: ModelReference,
): Promise<HubError> {
  const { repo } = reference;
  const { status, code, message, isRedirected } = failure;
  const { endpoint, token } = client.settings;
  if (isRedirected || ![401, 403, 404].includes(status)) return unreachableError(endpoint, failure);
  if (code === "GatedRepo") {
    const state = token === undefined ? "none is set" : "the one that is set is refused";
    return new HubError(
      "gated",
      `${repo} is gated: accept its licence at ${endpoint}/${repo}, then set HF_TOKEN to a token ` +
        `with read access (${state})`,
    );
  }
  if (code === "RevisionNotFound") return await missingRevision(client, reference);
  if (code === "EntryNotFound") {
    return new HubError("no-file", `${repo} has no file that was asked for (${message})`);
  }
  const isTokenBad = status === 401 && token !== undefined && code !== "RepoNotFound" ||
    /invalid credentials/i.test(message);
  if (isTokenBad) {
    return new HubError(
      "refused-token",
      `${endpoint} refuses the token: set HF_TOKEN to a valid one, or unset it for public models`,
    );
  }
  if (status === 403) {
    return new HubError(
      "refused-token",
      `${endpoint} gives no access to ${repo} (${message}): set HF_TOKEN to a token that may read it`,
    );
  }
  return await missingRepo(client, reference);
}

async function missingRepo(client: HubClient, { repo }: ModelReference): Promise<HubError> {
  const { endpoint, token, cacheDir } = client.settings;
  const found = await client.search(repo.split("/").at(-1)!).catch(() => []);
  const cached = cachedRepos(cacheDir);
  const nearest = nearestName(repo.toLowerCase(), [...cached, ...found].map(lowerCase));
  const named = [...cached, ...found].find((name) => lowerCase(name) === nearest);
  const others = found.filter((name) => name !== named).slice(0, 3);
  const hint = [
    ...(named === undefined ? [] : [`did you mean ${named}?`]),
    ...(others.length === 0 ? [] : [`The hub also has ${others.join(", ")}`]),
  ].join(" ");
  return new HubError(
    "no-repo",
    `${endpoint} has no model ${repo}` +
      `${token === undefined ? " that is public (private ones need HF_TOKEN)" : ""}` +
      (hint === "" ? "" : `: ${hint}`),
  );
}

async function missingRevision(
  client: HubClient,
  { repo, revision = DEFAULT_REVISION }: ModelReference,
): Promise<HubError> {
  const names = await client.revisions(repo).catch(() => []);
  const nearest = nearestName(revision, names);
  const hint = nearest !== undefined
    ? `did you mean ${repo}@${nearest}?`
    : names.length > 0
    ? `it has ${names.slice(0, 12).join(", ")}`
    : "give a branch, a tag or a whole commit";
  return new HubError("no-revision", `${repo} has no revision ${revision}: ${hint}`);
}

function lowerCase(text: string): string {
  return text.toLowerCase();
}
