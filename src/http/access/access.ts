import { createHash, timingSafeEqual } from "node:crypto";
import { STATUS_CODE } from "@std/http";
import type { Context, MiddlewareHandler } from "hono";
import { isLoopback } from "../../base/host.ts";
import { RequestError } from "../../core/errors.ts";
import { KeyAccount } from "./key_account.ts";
import type { KeyMeter } from "./key_rules.ts";
import type { AccessRules } from "../services.ts";

/**
 * Who may call a route: everyone; holders of an API key, where there are keys; holders of an admin
 * key.
 *
 * Each route names its access in the table of `app.ts`, and its gate runs before its handler. The
 * router's own match decides, so no second reading of the URL can open what it closes.
 */
export type Access = "public" | "key" | "admin";

/** Name under which a request's context keeps the key that let it in. */
const KEY = "apiKey";
/** Name under which it keeps that key's account. */
const ACCOUNT = "keyAccount";

/** The gate of each kind of route. */
export type Gates = Readonly<Record<Access, MiddlewareHandler>>;

/**
 * Makes the gates. A key comes in the header `Authorization: Bearer` or `x-api-key`; an admin key
 * opens what an API key opens. Without admin keys, admin routes answer only on a loopback address
 * without API keys: only programs of this machine reach the server there.
 */
export function createGates(rules: AccessRules, now: () => number, meter?: KeyMeter): Gates {
  const accounts = accountsOf(rules, now, meter);
  const apiKeys = new KeySet(rules.apiKeys);
  const adminKeys = new KeySet(rules.adminKeys);
  const isOpenToAdmins = adminKeys.isEmpty && apiKeys.isEmpty && isLoopback(rules.hostname);

  function requireKey(c: Context): void {
    if (apiKeys.isEmpty) return;
    const presented = presentedKeys(c);
    // An admin who presents an API key as well acts in that key's scope.
    const accepted = presented.find((key) => apiKeys.has(key)) ??
      presented.find((key) => adminKeys.has(key));
    if (accepted === undefined) refuseKey(c, presented.length > 0);
    c.set(KEY, accepted);
    c.set(ACCOUNT, accounts.get(accepted));
  }

  function requireAdmin(c: Context): void {
    if (isOpenToAdmins) return;
    requireKey(c);
    const presented = presentedKeys(c);
    if (presented.some((key) => adminKeys.has(key))) return;
    if (presented.length === 0 && !adminKeys.isEmpty) refuseKey(c, false);
    throw adminOnly(adminKeys.isEmpty);
  }

  return {
    public: (_c, next) => next(),
    key: (c, next) => (requireKey(c), next()),
    admin: (c, next) => (requireAdmin(c), next()),
  };
}

/** The account of the key that let this request in; undefined without a key. */
export function accountOf(c: Context): KeyAccount | undefined {
  return c.get(ACCOUNT);
}

/** An account per key, by the key. */
function accountsOf(
  { apiKeys, adminKeys, keyRules }: AccessRules,
  now: () => number,
  meter: KeyMeter | undefined,
): ReadonlyMap<string, KeyAccount> {
  const named = [
    ...apiKeys.map((key, i) => [key, `key-${i + 1}`] as const),
    ...adminKeys.map((key, i) => [key, `admin-${i + 1}`] as const),
  ];
  return new Map(named.map(([key, name]) => {
    const rules = keyRules?.get(key) ?? { name };
    return [key, new KeyAccount(rules, now, meter)];
  }));
}

/** The key that this request was admitted with; undefined where the server asks for none. */
export function acceptedKey(c: Context): string | undefined {
  return c.get(KEY);
}

/**
 * A set of secrets. Asked for one, it compares the SHA-256 digests of all of them each time, so
 * that the time taken tells nothing about how much of a key was right or which one it was.
 */
class KeySet {
  readonly #digests: readonly Uint8Array[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(sha256);
  }

  get isEmpty(): boolean {
    return this.#digests.length === 0;
  }

  has(key: string): boolean {
    const digest = sha256(key);
    let numEqual = 0;
    for (const own of this.#digests) numEqual += Number(timingSafeEqual(digest, own));
    return numEqual > 0;
  }
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

function presentedKeys(c: Context): string[] {
  const [, bearer] = /^Bearer +(\S+)\s*$/i.exec(c.req.header("authorization") ?? "") ?? [];
  return [bearer, c.req.header("x-api-key")].filter((key) => key !== undefined);
}

function refuseKey(c: Context, isPresent: boolean): never {
  c.header("www-authenticate", "Bearer");
  const message = isPresent
    ? "The API key is not one of this server's"
    : "No API key given: send the header Authorization: Bearer KEY, or x-api-key: KEY";
  throw new RequestError(message, { status: STATUS_CODE.Unauthorized, code: "invalid_api_key" });
}

function adminOnly(hasNoAdminKey: boolean): RequestError {
  const message = hasNoAdminKey
    ? "This is for the operator: start the server with --admin-key, or on a loopback address without keys"
    : "This needs the server's admin key (--admin-key); an API key does not open it";
  return new RequestError(message, {
    status: STATUS_CODE.Forbidden,
    code: "admin_key_required",
    type: "permission_error",
  });
}
