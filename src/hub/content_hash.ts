import { createHash } from "node:crypto";

/** What a file's content must be. */
export interface Digest {
  /** `sha256` of the content, or the `git-sha1` of a blob of git. */
  readonly kind: "sha256" | "git-sha1";
  /** In lower-case hexadecimal. */
  readonly hex: string;
}

/** Takes a file's content in order, piece by piece. */
export interface ContentHash {
  update(bytes: Uint8Array): void;
  /** The digest of everything so far, once. */
  hex(): string;
}

/** The digest that an etag is, as the hub makes them: of large files sha256, of others git's. */
export function digestOfEtag(etag: string): Digest | undefined {
  if (/^[0-9a-f]{64}$/.test(etag)) return { kind: "sha256", hex: etag };
  if (/^[0-9a-f]{40}$/.test(etag)) return { kind: "git-sha1", hex: etag };
  return undefined;
}

/** Begins the hash of a file of `size` bytes, which git's digest includes. */
export function beginHash(kind: Digest["kind"], size: number): ContentHash {
  const hash = createHash(kind === "sha256" ? "sha256" : "sha1");
  if (kind === "git-sha1") hash.update(`blob ${size}\0`);
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}
