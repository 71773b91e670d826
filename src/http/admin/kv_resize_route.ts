import type { Handler } from "hono";
import { z } from "zod";
import { parseByteSize } from "../../base/byte_size.ts";
import type { EngineInfo } from "../../core/engine_config.ts";
import { RequestError } from "../../core/errors.ts";
import { readJson } from "../body/read_json.ts";
import { invalid } from "../refusals.ts";
import { requireReady } from "../served_model.ts";
import type { Services } from "../services.ts";

/** Body of `POST /admin/kv/resize`. */
export const ResizeRequest = z.looseObject({
  num_blocks: z.int().min(1).max(2 ** 31 - 1).nullish(),
  memory_bytes: z.union([z.int().min(1), z.string().min(1).max(40)]).nullish(),
});
type ResizeRequest = z.output<typeof ResizeRequest>;

/**
 * `POST /admin/kv/resize {"num_blocks": N}`, or `{"memory_bytes": "512MiB"}`: gives the KV pool
 * another size between two steps, while requests go on. Refused with the numbers, and without
 * effect, where the blocks in use would not fit or the device has no memory (409), or where one
 * sequence of the greatest length would not fit (400). A resized pool no longer grows by itself.
 * Its blocks are slabs where cache groups share it.
 */
export function kvResizeRoute({ engine, log }: Services): Handler {
  return async (c) => {
    const request = await readJson(c, ResizeRequest);
    const info = requireReady(engine);
    const numBlocks = readSize(request, info);
    const resized = await engine.command({ type: "resize_kv", numBlocks });
    const { numBefore, numAfter, numEvicted, numMoved } = resized;
    log.info("KV pool resized", { from: numBefore, to: numAfter, evicted: numEvicted });
    const size = (count: number) => ({
      num_blocks: count,
      memory_bytes: count * bytesPerBlock(info),
    });
    return c.json({
      before: size(numBefore),
      after: size(numAfter),
      evicted_blocks: numEvicted,
      moved_blocks: numMoved,
    });
  };
}

function readSize({ num_blocks, memory_bytes }: ResizeRequest, info: EngineInfo): number {
  const isBlocks = num_blocks !== undefined && num_blocks !== null;
  const isBytes = memory_bytes !== undefined && memory_bytes !== null;
  if (isBlocks === isBytes) {
    throw new RequestError("Give either num_blocks or memory_bytes", {
      code: isBlocks ? "invalid_value" : "missing_required_parameter",
      param: "num_blocks",
    });
  }
  return isBlocks ? num_blocks : blocksOf(memory_bytes!, info);
}

/** Whole blocks that fit into a size in bytes. */
function blocksOf(size: string | number, info: EngineInfo): number {
  const bytes = typeof size === "number" ? size : parseByteSize(size);
  const blockBytes = bytesPerBlock(info);
  const numBlocks = Math.floor((bytes ?? 0) / blockBytes);
  if (numBlocks >= 1 && numBlocks < 2 ** 31) return numBlocks;
  throw invalid(
    "memory_bytes",
    `memory_bytes must be a size of at least one block (${blockBytes} bytes), such as 512MiB, got ` +
      JSON.stringify(size),
  );
}

function bytesPerBlock({ kvCacheBytes, numBlocks }: EngineInfo): number {
  return kvCacheBytes / numBlocks;
}
