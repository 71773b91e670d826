import type { Handler } from "hono";
import { notFound, quoted } from "../refusals.ts";
import { sequenceTraceJson } from "../traces/sequence_trace.ts";
import type { Services } from "../services.ts";

/**
 * `GET /admin/requests/ID`: what has happened to each sequence of a request that waits, runs, or
 * has ended of late: how long it waited, why and behind which, what was computed of it, its end.
 */
export function requestTraceRoute({ metrics }: Services): Handler {
  return (c) => {
    const id = c.req.param("id") ?? "";
    const sequences = metrics.requestTraces.ofRequest(id);
    if (sequences.length === 0) {
      throw notFound(
        "id",
        `No request ${quoted(id, 100)} is known: it never was, or is forgotten`,
      );
    }
    return c.json({
      id,
      sequences: sequences.map((one) => sequenceTraceJson(one, { namesOthers: true })),
    });
  };
}
