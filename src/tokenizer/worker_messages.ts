/** To a Worker of a host. `load` comes first and once; then tasks, one at a time. */
export type ToWorker<Load, Request> =
  | { readonly type: "load"; readonly load: Load }
  | { readonly type: "run"; readonly request: Request };

/** From a Worker: one answer to each message. */
export type FromWorker<Outcome> =
  | { readonly type: "loaded" }
  | { readonly type: "refused"; readonly message: string }
  | { readonly type: "done"; readonly outcome: Outcome };

/** The part of `Worker` that a host uses; tests put a fake in its place. */
export interface HostedWorker<Load, Request, Outcome> {
  onmessage: ((event: MessageEvent<FromWorker<Outcome>>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: ToWorker<Load, Request>): void;
  terminate(): void;
}

/** The part of a Worker's global scope that serves its host. */
export interface WorkerScope<Load, Request, Outcome> {
  onmessage: ((event: MessageEvent<ToWorker<Load, Request>>) => void) | null;
  postMessage(message: FromWorker<Outcome>, transfer?: Transferable[]): void;
}
