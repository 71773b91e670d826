/** Ends with 0 where the server at a URL says that it is worth keeping: `is_alive.ts URL`. */

/** How long an answer may take, ms. */
const PATIENCE_MS = 5000;

if (import.meta.main) {
  try {
    const { ok } = await fetch(Deno.args[0]!, { signal: AbortSignal.timeout(PATIENCE_MS) });
    Deno.exit(ok ? 0 : 1);
  } catch {
    Deno.exit(1);
  }
}
