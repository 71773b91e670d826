import type { Context } from "hono";
import type { Generation, GenerationRequest } from "../../core/generation.ts";
import type { TokenEvent } from "../../core/token_event.ts";
import { accountOf } from "../access/access.ts";
import { cacheScope, requestOwner } from "../access/cache_scope.ts";
import type { KeyUse } from "../access/key_account.ts";
import type { Services } from "../services.ts";

/** A request in the name of its key. */
export interface SubmittedRequest {
  readonly generation: Generation;
  /** Its cache scope and its owner (`access/cache_scope.ts`). */
  readonly scope: string | undefined;
  readonly owner: string | undefined;
}

/** A request without what follows from the key that it came with. */
export type UnscopedRequest = Omit<
  GenerationRequest,
  "cacheScope" | "owner" | "priority" | "timeoutMs"
>;

/**
 * Hands a request to the engine in the name of its key: within the key's limits, in its cache scope
 * and its turn, with its priority.
 *
 * @param numPromptTokens tokens of all its prompts, each counted once.
 * @throws {RequestError} 429 beyond the key's limits, or as the engine refuses it.
 */
export async function submitFor(
  c: Context,
  { engine, cacheSecret, limits }: Pick<Services, "engine" | "cacheSecret" | "limits">,
  request: UnscopedRequest,
  { salt, timeoutSeconds = Infinity, numPromptTokens }: {
    /** The request's `cache_salt`. */
    readonly salt: string | null | undefined;
    /** The request's `timeout`; the server's own may be shorter. */
    readonly timeoutSeconds?: number | undefined;
    readonly numPromptTokens: number;
  },
): Promise<SubmittedRequest> {
  const scope = cacheScope(c, cacheSecret, salt);
  const owner = requestOwner(c, cacheSecret);
  const timeoutMs = 1000 * Math.min(timeoutSeconds, limits.requestTimeoutSeconds ?? Infinity);
  const account = accountOf(c);
  const use = account?.begin(numPromptTokens);
  const priority = account?.rules.priority;
  try {
    const generation = await engine.submit({
      ...request,
      ...(scope === undefined ? {} : { cacheScope: scope }),
      ...(owner === undefined ? {} : { owner }),
      ...(priority === undefined ? {} : { ownerPriority: priority }),
      ...(timeoutMs === Infinity ? {} : { timeoutMs }),
    });
    use?.accept();
    for (const [name, value] of Object.entries(account?.headers() ?? {})) c.header(name, value);
    return { generation: use === undefined ? generation : charged(generation, use), scope, owner };
  } catch (error) {
    use?.cancel();
    throw error;
  }
}

/** A generation whose tokens are charged to a key as they come. */
function charged(generation: Generation, use: KeyUse): Generation {
  async function* events(): AsyncGenerator<readonly TokenEvent[]> {
    try {
      for await (const step of generation.events) {
        use.charge(step.filter(({ token }) => token !== undefined).length);
        yield step;
      }
    } finally {
      use.end();
    }
  }
  return { events: events(), abort: (index) => generation.abort(index) };
}
