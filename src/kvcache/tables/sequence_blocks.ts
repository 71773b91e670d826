import type { BlockId } from "../../core/ids.ts";
import type { CachedPath } from "./cached_path.ts";

/** What one admitted sequence holds. */
export interface SequenceBlocks {
  /** Its blocks in order of position, one reference to each; replaced, never changed. */
  table: readonly BlockId[];
  /** Absent without a prefix cache. */
  readonly path: CachedPath | undefined;
}
