import { STATUS_CODE } from "@std/http";
import type { EngineInfo } from "../core/engine_config.ts";
import { EngineUnavailableError, RequestError } from "../core/errors.ts";
import { type EnginePort, UNAVAILABLE } from "../core/engine_port.ts";
import { quoted } from "./refusals.ts";
import type { ServedModel } from "./services.ts";

/**
 * The name to report for the model that a request names; the first served name where it names none.
 *
 * @throws {RequestError} 404 `model_not_found` with the names that are served.
 */
export function servedName(name: string | null | undefined, { names }: ServedModel): string {
  if (name === undefined || name === null) return names[0]!;
  if (names.includes(name)) return name;
  const shown = quoted(name, 200);
  throw new RequestError(
    `The model ${shown} does not exist here: this server serves ${names.join(", ")}`,
    { status: STATUS_CODE.NotFound, code: "model_not_found", param: "model" },
  );
}

/** Why the engine takes no requests, in a sentence for clients; undefined when it does. */
export function unavailability({ state, failure, info }: EnginePort): string | undefined {
  if (state !== "ready") {
    return failure === undefined ? UNAVAILABLE[state] : `${UNAVAILABLE[state]}: ${failure}`;
  }
  return info === undefined ? UNAVAILABLE.starting : undefined;
}

/**
 * What the engine reported when it became ready.
 *
 * @throws {EngineUnavailableError} while it takes no requests.
 */
export function requireReady(engine: EnginePort): EngineInfo {
  const reason = unavailability(engine);
  if (reason !== undefined) throw new EngineUnavailableError(reason);
  return engine.info!;
}
