import { omitUndefined } from "../base/omit_undefined.ts";
import { StartupError } from "../core/errors.ts";

/** A model by name: a repository, which of its revisions, and which of its files. */
export interface ModelReference {
  /** `org/name`, or a bare `name` as the oldest models have. */
  readonly repo: string;
  /** Branch, tag or commit; absent for the default branch. */
  readonly revision?: string;
  /** A file of the repository, by its path. */
  readonly file?: string;
  /** A quantization in a file's name, such as `Q4_K_M`. */
  readonly quant?: string;
}

/** The branch of a reference that names no revision. */
export const DEFAULT_REVISION = "main";

/** Longest repository name, as the hub has it. */
const MAX_REPO_CHARS = 96;
const REPO_PART = "[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?";
const REPO = new RegExp(`^(?:${REPO_PART}/)?${REPO_PART}$`);
const REVISION = /^[A-Za-z0-9_][A-Za-z0-9_./-]*$/;
const QUANT = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const MAX_REVISION_CHARS = 255;
const MAX_PATH_CHARS = 1024;

/**
 * Parses `org/name[@revision][:file-or-quant]`. What ends in `.gguf` or `.safetensors`, or has a
 * slash, is a file.
 *
 * @throws {StartupError} naming the part that is malformed, and its value.
 */
export function parseModelReference(text: string): ModelReference {
  const [head = "", selector] = cutAt(text, ":");
  const [repo = "", revision] = cutAt(head, "@");
  if (!isRepoName(repo)) {
    throw refusal(text, "its name must be ORG/NAME in letters, digits, '-', '_' and '.'", repo);
  }
  if (revision !== undefined && !isRevision(revision)) {
    throw refusal(text, "its revision must be a branch, a tag or a commit", revision);
  }
  return {
    repo,
    ...omitUndefined({ revision }),
    ...(selector === undefined ? {} : parseSelector(text, selector)),
  };
}

/** Whether a text has the form of `org/name...`: what `serve` takes for a name on the hub. */
export function looksLikeModelName(text: string): boolean {
  return isRepoName(/^[^@:]*/.exec(text)![0]) && text.includes("/");
}

/** The text that {@link parseModelReference} reads as `reference`. */
export function formatModelReference(reference: ModelReference): string {
  const { repo, revision, file, quant } = reference;
  const selector = file ?? quant;
  return repo + (revision === undefined ? "" : `@${revision}`) +
    (selector === undefined ? "" : `:${selector}`);
}

/**
 * Why a path could leave the folder that it is relative to, in words; undefined for one that stays
 * inside on every platform.
 */
export function whyUnsafePath(path: string): string | undefined {
  if (path === "" || path.length > MAX_PATH_CHARS) return `has ${path.length} characters`;
  // deno-lint-ignore no-control-regex -- control characters are what is looked for
  if (/[\x00-\x1f\x7f\\:]/.test(path)) return "has a backslash, a colon or a control character";
  const isInside = path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  return isInside ? undefined : "has an empty part, '.' or '..'";
}

function isRepoName(repo: string): boolean {
  return REPO.test(repo) && repo.length <= MAX_REPO_CHARS && !/--|\.\.|\.git$/.test(repo);
}

/** Whether a text may name a revision: a git reference that is a safe path as well. */
function isRevision(text: string): boolean {
  return REVISION.test(text) && text.length <= MAX_REVISION_CHARS &&
    whyUnsafePath(text) === undefined && !/\.\.|\.lock$/.test(text);
}

function parseSelector(text: string, selector: string): Pick<ModelReference, "file" | "quant"> {
  if (/\/|\.(gguf|safetensors)$/i.test(selector)) {
    const why = whyUnsafePath(selector);
    if (why === undefined) return { file: selector };
    throw refusal(text, `its file must be a path inside the repository, and ${why}`, selector);
  }
  if (QUANT.test(selector)) return { quant: selector };
  throw refusal(text, "after ':' must stand a file or a quantization such as Q4_K_M", selector);
}

/** The parts before and after the first `mark`; the second is absent without one. */
function cutAt(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function refusal(text: string, rule: string, part: string): StartupError {
  return new StartupError(
    `${JSON.stringify(text)} is no model name: ${rule}, got ${JSON.stringify(part)}`,
  );
}
