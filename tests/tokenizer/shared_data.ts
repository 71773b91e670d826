/** Real vocabularies and templates beside the checkout; they are other people's and not part of it. */
const DATA = new URL("../../../shared/data/", import.meta.url).pathname;

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Path of the bundled model. */
export const DEMO_DIR = new URL("../../models/demo", import.meta.url).pathname;

/**
 * A test that needs `needed`, paths below the data directory. Where one is absent the test is
 * skipped and its printed name says why.
 */
export function testWithData(
  name: string,
  needed: readonly string[],
  body: (...paths: string[]) => void | Promise<void>,
): void {
  const paths = needed.map((path) => `${DATA}${path}`);
  const missing = needed.find((_, i) => !exists(paths[i]!));
  const reason = missing === undefined ? "" : ` (skipped: ../shared/data/${missing} is absent)`;
  Deno.test({ name: name + reason, ignore: missing !== undefined, fn: () => body(...paths) });
}
