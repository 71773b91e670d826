import type { Handler } from "hono";
import { invalid, quoted } from "../refusals.ts";
import type { Services } from "../services.ts";

/**
 * `POST /reset_prefix_cache?preempt=true|false`: forgets the KV of all earlier prompts. While
 * sequences run it is refused with their number (409), unless they may be preempted.
 */
export function resetPrefixCacheRoute({ engine, log }: Services): Handler {
  return async (c) => {
    const preempt = c.req.query("preempt") ?? c.req.query("reset_running_requests") ?? "false";
    if (preempt !== "true" && preempt !== "false") {
      throw invalid("preempt", `preempt must be true or false, got ${quoted(preempt)}`);
    }
    const { numPreempted } = await engine.command({
      type: "reset_prefix_cache",
      preempt: preempt === "true",
    });
    log.info("prefix cache reset", { preempted: numPreempted });
    return c.json({ status: "ok", preempted: numPreempted });
  };
}

/**
 * `GET /admin/kv/curve`: the estimated share of looked-up blocks that smaller and larger pools
 * would find, by multiples of the pool's size; also while the cache is off.
 */
export function kvCurveRoute({ engine }: Services): Handler {
  return async (c) => {
    const points = await engine.command({ type: "hit_rate_curve" });
    return c.json({
      points: points.map(({ multiple, hitRate }) => ({
        memory: Number.isFinite(multiple) ? multiple : "infinite",
        hit_rate: hitRate,
      })),
    });
  };
}

/** `GET /admin/kv/check`: audits every block's count against its holders, on the spot. */
export function kvCheckRoute({ engine }: Services): Handler {
  return async (c) => {
    const { numBlocks, numFreeBlocks, numCachedBlocks } = await engine.command({
      type: "check_integrity",
    });
    return c.json({
      status: "ok",
      blocks: {
        total: numBlocks,
        free: numFreeBlocks,
        cached: numCachedBlocks,
        in_use: numBlocks - numFreeBlocks - numCachedBlocks,
      },
    });
  };
}
