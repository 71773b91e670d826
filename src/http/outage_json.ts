import type { EnginePort } from "../core/engine_port.ts";

/** An outage as clients read it, times in seconds; undefined while no engine is lost. */
export function outageJson({ outage, numInFlight }: Pick<EnginePort, "outage" | "numInFlight">) {
  if (outage === undefined) return undefined;
  const { elapsedMs, numFailures, maxNumFailures, nextTryMs } = outage;
  return {
    seconds: elapsedMs / 1000,
    failures_in_a_row: numFailures,
    ...(maxNumFailures === undefined ? {} : { failures_allowed: maxNumFailures }),
    ...(nextTryMs === undefined ? {} : { next_try_in_seconds: nextTryMs / 1000 }),
    requests_kept: numInFlight,
  };
}
