import type { StartupPhase } from "../core/engine_config.ts";

/** The phases of a start, timed as they pass and told as they begin. */
export class StartupPhases {
  readonly #progress: (phase: string) => void;
  readonly #passed: StartupPhase[] = [];

  /** @param progress is told the name of each phase, and of long ones how far they are. */
  constructor(progress: (phase: string) => void) {
    this.#progress = progress;
  }

  /** Reports a notice, beside the phases. */
  tell(notice: string): void {
    this.#progress(notice);
  }

  /** The phases that have ended, in order. */
  get passed(): readonly StartupPhase[] {
    return this.#passed;
  }

  /** Does the work of one phase; `report` takes a text for how far it is. */
  async run<T>(
    name: string,
    work: (report: (text: string) => void) => T | Promise<T>,
  ): Promise<T> {
    this.#progress(name);
    const began = performance.now();
    const result = await work(seldom((text) => this.#progress(`${name}: ${text}`)));
    this.#passed.push({ name, seconds: (performance.now() - began) / 1000 });
    return result;
  }
}

/** A share as the reports of a phase have it: "40 %". */
export function percent(share: number): string {
  return `${Math.floor(100 * share)} %`;
}

/** Milliseconds between two reports of one phase, and before its first. */
const REPORT_EVERY_MS = 1000;

function seldom(tell: (text: string) => void): (text: string) => void {
  let lastMs = performance.now();
  return (text) => {
    if (performance.now() - lastMs < REPORT_EVERY_MS) return;
    lastMs = performance.now();
    tell(text);
  };
}
