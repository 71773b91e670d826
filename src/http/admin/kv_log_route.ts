import type { Handler } from "hono";
import { z } from "zod";
import { decisionJson } from "../traces/decision_json.ts";
import { readQuery } from "../body/read_query.ts";
import type { Services } from "../services.ts";

const MAX_ENTRIES = 10_000;

const Query = z.object({
  from: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_ENTRIES).default(1000),
  request_id: z.string().min(1).max(200).optional(),
});

/**
 * `GET /admin/kv/log?from=SEQ&limit=N&request_id=ID`: why requests waited, were admitted, hit or
 * were preempted, oldest first; without `from`, the latest `limit` decisions that are kept.
 */
export function kvLogRoute({ engine }: Services): Handler {
  return (c) => {
    const { from, limit, request_id } = readQuery(c, Query);
    const kept = engine.decisions.from(from ?? 0)
      .filter(({ item }) => request_id === undefined || item.requestId === request_id);
    const shown = from === undefined ? kept.slice(-limit) : kept.slice(0, limit);
    return c.json({
      first_seq: engine.decisions.firstSeq,
      next_seq: engine.decisions.nextSeq,
      entries: shown.map(({ seq, item }) => ({ seq, ...decisionJson(item) })),
    });
  };
}
