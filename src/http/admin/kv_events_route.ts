import type { Handler } from "hono";
import { z } from "zod";
import type { KvEvent } from "../../core/kv_event.ts";
import { readQuery } from "../body/read_query.ts";
import type { Services } from "../services.ts";
import { streamSse } from "../answer/sse.ts";

const Query = z.object({ from: z.coerce.number().int().min(0).optional() });

/**
 * `GET /kv/events?from=SEQ`: what the prefix cache stores and drops, as server-sent events.
 *
 * Events are numbered from 0, with gaps where nothing has changed. Without `from` the stream starts
 * with the next one. Where events are no longer kept, `{"type": "gap", "first_seq": N}` says so,
 * and a reader must discard its picture of the cache. Tokens are left out where the server asks for
 * API keys: clients must not read each other's prompts.
 */
export function kvEventsRoute({ engine, access, limits }: Services): Handler {
  return (c) => {
    const { kvEvents } = engine;
    const { from = kvEvents.nextSeq } = readQuery(c, Query);
    const withTokens = access.apiKeys.length === 0;
    const abort = new AbortController();
    return streamSse(c, limits.keepAliveMs, {
      onGone: () => abort.abort(),
      async write(sse) {
        let expected = from;
        for await (const { seq, item } of kvEvents.follow(from, abort.signal)) {
          if (seq > expected) await sse.send([{ type: "gap", first_seq: seq }]);
          expected = seq + 1;
          if (item.type !== "used") await sse.send([toWire(seq, item, withTokens)]);
        }
      },
    });
  };
}

function toWire(
  seq: number,
  event: Exclude<KvEvent, { type: "used" }>,
  withTokens: boolean,
): Record<string, unknown> {
  switch (event.type) {
    case "cleared":
      return { seq, type: event.type };
    case "removed":
      return { seq, type: event.type, keys: event.keys, group: event.group };
    case "stored":
      return {
        seq,
        type: event.type,
        keys: event.keys,
        parent_key: event.parentKey,
        group: event.group,
        ...(withTokens ? { tokens: event.tokens } : {}),
      };
  }
}
