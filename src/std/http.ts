/**
 * The part of `@std/http` that Quire uses, by name and meaning; see the import map in `deno.json`.
 */

/** Status codes by name (RFC 9110 section 15). */
export const STATUS_CODE = {
  OK: 200,
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  RequestTimeout: 408,
  ContentTooLarge: 413,
  UnsupportedMediaType: 415,
  TooManyRequests: 429,
  InternalServerError: 500,
  ServiceUnavailable: 503,
} as const;
