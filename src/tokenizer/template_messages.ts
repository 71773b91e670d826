import type { RenderLimits, RenderOutcome } from "./template_renderer.ts";

/** One render: what the template sees. */
export interface RenderRequest {
  readonly variables: Readonly<Record<string, unknown>>;
  readonly limits: RenderLimits;
  /** The time that `strftime_now` tells, ms since 1970. */
  readonly nowMs: number;
}

/** To the Worker that renders. `load` comes first and once; renders one at a time. */
export type ToRenderer =
  | { readonly type: "load"; readonly source: string }
  | { readonly type: "render"; readonly request: RenderRequest };

/** From the Worker that renders: one answer to each message. */
export type FromRenderer =
  | { readonly type: "loaded" }
  | { readonly type: "refused"; readonly message: string }
  | { readonly type: "done"; readonly outcome: RenderOutcome };

/** The part of `Worker` that the host uses; tests put a fake in its place. */
export interface RenderWorker {
  onmessage: ((event: MessageEvent<FromRenderer>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: ToRenderer): void;
  terminate(): void;
}
