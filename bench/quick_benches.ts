/**
 * Runs the benches of a file for `deno bench` once each, to prove that they work:
 * `deno run -A bench/quick_benches.ts bench/NAME_bench.ts`. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program

/** What a bench that times a part of itself asks for. */
const UNTIMED: Pick<Deno.BenchContext, "start" | "end"> = { start: () => {}, end: () => {} };

type Bench = Deno.BenchDefinition;

/** The benches that the module at `url` defines, in order. */
async function benchesOf(url: URL): Promise<Bench[]> {
  const found: Bench[] = [];
  Deno.bench = ((options: Omit<Bench, "fn">, fn: Bench["fn"]) => {
    found.push({ ...options, fn });
  }) as typeof Deno.bench;
  await import(url.href);
  return found;
}

if (import.meta.main) {
  const url = new URL(Deno.args[0]!, `file://${Deno.cwd()}/`);
  const names: string[] = [];
  for (const { name, fn } of await benchesOf(url)) {
    await fn(UNTIMED as Deno.BenchContext);
    names.push(name);
  }
  console.log(JSON.stringify({ bench: Deno.args[0], names }));
}
