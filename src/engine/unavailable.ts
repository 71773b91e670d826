import { engineUnavailable, type ErrorData } from "../core/errors.ts";

/** The error of each request in flight when its isolate died. */
export const ISOLATE_DIED: ErrorData = engineUnavailable(
  "The engine stopped while it worked on this request; try again",
);
