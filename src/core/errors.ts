/** An error as it crosses an isolate boundary: structured clone drops classes and fields. */
export interface ErrorData {
  /** HTTP status the main isolate answers with. */
  readonly status: number;
  /** OpenAI's `error.type`, such as `invalid_request_error`. */
  readonly type: string;
  /** OpenAI's `error.code`: a short machine-readable string, or null. */
  readonly code: string | null;
  readonly message: string;
  /** Dotted path of the offending field, or null. */
  readonly param: string | null;
  /** Values for programs to read, such as `n_prompt_tokens`. */
  readonly details?: Readonly<Record<string, number | string>>;
}

/** A refused request: becomes an answer of its `status` with OpenAI's error body. */
export class RequestError extends Error {
  override name = "RequestError";
  readonly data: ErrorData;

  constructor(
    message: string,
    fields: Partial<Omit<ErrorData, "message">> = {},
  ) {
    super(message);
    this.data = {
      status: fields.status ?? 400,
      type: fields.type ?? "invalid_request_error",
      code: fields.code ?? null,
      message,
      param: fields.param ?? null,
      ...(fields.details === undefined ? {} : { details: fields.details }),
    };
  }
}

/** The engine isolate is starting, restarting, draining or gone: 503 with Retry-After. */
export class EngineUnavailableError extends Error {
  override name = "EngineUnavailableError";

  /** The answer that a client gets. */
  get data(): ErrorData {
    return engineUnavailable(this.message);
  }
}

/** The error of a request that no engine serves now; a later try may succeed. */
export function engineUnavailable(message: string): ErrorData {
  return { status: 503, type: "server_error", code: "engine_unavailable", message, param: null };
}

/** The user's mistake at start: a flag, a model file, a port. Printed as one sentence, exit 1. */
export class StartupError extends Error {
  override name = "StartupError";
}

/** More KV blocks are taken than are free, a bug of whoever takes them. The pool is unchanged. */
export class OutOfBlocksError extends Error {
  override name = "OutOfBlocksError";
  constructor(readonly requested: number, readonly available: number) {
    super(`Cannot allocate ${requested} KV blocks: ${available} are free`);
  }
}

/** The GPU device is gone; the engine isolate ends and the main isolate restarts it. */
export class DeviceLostError extends Error {
  override name = "DeviceLostError";
}

/** The device or the isolate has no memory left: another engine may do with a smaller pool. */
export class OutOfMemoryError extends Error {
  override name = "OutOfMemoryError";
}

/** A kernel does not compile, or the device refuses a call. */
export class KernelError extends Error {
  override name = "KernelError";
  constructor(readonly kernel: string, message: string) {
    super(`Kernel ${kernel}: ${message}`);
  }
}
