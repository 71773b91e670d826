import { isLoopback } from "../base/host.ts";
import type { Keys } from "./keys.ts";

/**
 * Why a server that listens on `address` must not answer: everyone who reaches the machine could
 * use it. Undefined where a key is required, only this machine reaches it, or `--allow-public` is
 * set.
 */
export function publicBindRefusal(
  address: string,
  { apiKeys, allowPublic }: Pick<Keys, "apiKeys"> & { readonly allowPublic: boolean },
): string | undefined {
  if (isLoopback(address) || apiKeys.length > 0 || allowPublic) return undefined;
  return `The server listens on ${address}, where other machines reach it, and asks for no key: give ` +
    "--api-key (QUIRE_API_KEY), or --host 127.0.0.1 for this machine alone, or --allow-public " +
    "(QUIRE_ALLOW_PUBLIC=true) to let everyone use it";
}
