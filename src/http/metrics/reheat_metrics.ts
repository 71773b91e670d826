import { Gauge, type Registry } from "prom-client";
import type { ReheatProgress } from "../../core/reheat_progress.ts";

/** Adds `quire:reheat_prefixes` and `quire:reheat_tokens` to a registry, read at each scrape. */
export function watchReheat(registry: Registry, read: () => ReheatProgress): void {
  const gauge = (
    name: string,
    help: string,
    values: (progress: ReheatProgress) => { done: number; left: number },
  ) =>
    new Gauge({
      name,
      help,
      labelNames: ["state"],
      registers: [registry],
      collect() {
        const { done, left } = values(read());
        this.set({ state: "done" }, done);
        this.set({ state: "left" }, left);
      },
    });
  gauge(
    "quire:reheat_prefixes",
    "Prefixes computed again since the start, and those to come when the engine is idle",
    ({ numPrefixesDone: done, numPrefixesLeft: left }) => ({ done, left }),
  );
  gauge(
    "quire:reheat_tokens",
    "Tokens of these prefixes; what several begin with counts in each",
    ({ numTokensDone: done, numTokensLeft: left }) => ({ done, left }),
  );
}
