import type { Handler } from "hono";
import { z } from "zod";
import { cacheScope } from "../access/cache_scope.ts";
import { readQuery } from "../body/read_query.ts";
import { notFound, quoted } from "../refusals.ts";
import { requireReady } from "../served_model.ts";
import type { Services } from "../services.ts";
import { streamSse } from "../answer/sse.ts";
import { scopeName } from "./machine_frame.ts";
import { MachineWatch } from "./machine_watch.ts";

/** Tokens of a path whose text is told at once. */
const MAX_TEXT_TOKENS = 2048;

/**
 * `GET /admin/machine`: the inside of the engine as server-sent events: first `hello` with the
 * history, then frames of the block pool, the radix tree, the queues and the steps, a few times a
 * second (`docs/window.md`). At most 16 viewers.
 */
export function machineRoute(services: Services): Handler {
  const { engine, metrics, limits, cacheSecret, log } = services;
  const watch = new MachineWatch(engine, metrics, {
    onError: (error) => log.error("the machine cannot be viewed", { error }),
  });
  return (c) => {
    const abort = new AbortController();
    const frames = watch.join(abort.signal);
    const hello = {
      type: "hello",
      scope: scopeName(cacheScope(c, cacheSecret, undefined)),
      history: watch.history.moments,
    };
    return streamSse(c, limits.keepAliveMs, {
      onGone: () => abort.abort(),
      async write(sse) {
        try {
          await sse.send([hello]);
          for await (const frame of frames) await sse.sendJson(frame);
        } finally {
          abort.abort();
        }
      },
    });
  };
}

const PathQuery = z.object({
  node: z.coerce.number().int().min(0).max(2 ** 31),
  hash: z.coerce.number().int().min(-(2 ** 31)).max(2 ** 31),
  skip: z.coerce.number().int().min(0).default(0),
});

/**
 * `GET /admin/machine/path?node=N&hash=H&skip=K`: the text of a path of the radix tree, as a frame
 * names it, behind its first `skip` tokens; of the caller's own cache scope alone.
 */
export function machinePathRoute({ engine, text, cacheSecret }: Services): Handler {
  return async (c) => {
    const { node, hash, skip } = readQuery(c, PathQuery);
    requireReady(engine);
    const scope = cacheScope(c, cacheSecret, undefined);
    const { tokens } = await engine.command({
      type: "read_path",
      ...{ node, hash },
      ...(scope === undefined ? {} : { cacheScope: scope }),
    });
    if (tokens === undefined) {
      throw notFound(
        "node",
        "Your cache scope has no such path: it was evicted, or is of another key or salt",
      );
    }
    const shown = tokens.subarray(skip, skip + MAX_TEXT_TOKENS);
    const [decoded] = await text.decode([shown]);
    return c.json({
      n_tokens: tokens.length,
      n_shown: shown.length,
      text: decoded,
    });
  };
}

/**
 * `DELETE /admin/requests/ID`: ends a request of any client, which gets what there is, with
 * the finish reason "abort".
 */
export function abortRequestRoute({ engine, log }: Services): Handler {
  return async (c) => {
    const requestId = c.req.param("id") ?? "";
    const { numSequences } = await engine.command({ type: "abort_request", requestId });
    if (numSequences === 0) {
      throw notFound("id", `No request ${quoted(requestId, 100)} waits or runs`);
    }
    log.info("request aborted by an operator", { aborted_id: requestId, sequences: numSequences });
    return c.json({ id: requestId, aborted_sequences: numSequences });
  };
}
