import type { EnginePort } from "../core/generation.ts";

/** An outage as clients read it, times in seconds; undefined while no engine is lost. */
export function outageJson({ outage, numInFlight }: Pick<EnginePort, "outage" | "numInFlight">) {
  if (outage === undefined) return undefined;
  const { elapsedMs, numLosses, maxNumLosses, nextTryMs } = outage;
  return {
    seconds: elapsedMs / 1000,
    losses_in_a_row: numLosses,
    ...(maxNumLosses === undefined ? {} : { losses_allowed: maxNumLosses }),
    ...(nextTryMs === undefined ? {} : { next_try_in_seconds: nextTryMs / 1000 }),
    requests_kept: numInFlight,
  };
}
