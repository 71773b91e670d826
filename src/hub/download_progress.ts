/** One file as far as it is. */
export interface FileProgress {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly done: number;
}

/** A download as far as it is. */
export interface ProgressState {
  /** Those that have begun, in that order. */
  readonly files: readonly FileProgress[];
  /** All that are to be fetched. */
  readonly numFiles: number;
  readonly total: { readonly size: number; readonly done: number };
  /** Bytes per second over the last ten seconds; undefined before there is a measure. */
  readonly rate: number | undefined;
  /** At that rate, seconds. */
  readonly secondsLeft: number | undefined;
}

/** The window over which the rate is taken, ms. */
const WINDOW_MS = 10_000;
/** Time between two samples at least, ms. */
const SAMPLE_MS = 250;

/** Counts the bytes of a download, by file and in total. */
export class DownloadProgress {
  readonly #now: () => number;
  readonly #files = new Map<string, { size: number; done: number; began: number }>();
  /** Bytes fetched by this process until then; what was there before has no rate. */
  readonly #samples: { readonly ms: number; readonly bytes: number }[] = [];
  #numFetched = 0;
  #numBegun = 0;

  /** @param now milliseconds, never going back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** A file that will be fetched. */
  expect(name: string, size: number): void {
    if (!this.#files.has(name)) this.#files.set(name, { size, done: 0, began: Infinity });
  }

  /** More bytes of a file are there: `isNew` for those that were fetched by now. */
  advance(name: string, count: number, isNew = true): void {
    const file = this.#files.get(name);
    if (file === undefined) return;
    if (file.began === Infinity) file.began = this.#numBegun++;
    file.done = Math.min(file.size, file.done + count);
    if (!isNew) return;
    this.#numFetched += count;
    this.#sample();
  }

  /** A file is whole, also where another process has fetched it. */
  finish(name: string): void {
    const file = this.#files.get(name);
    if (file !== undefined) this.advance(name, file.size - file.done, false);
  }

  get state(): ProgressState {
    const files = [...this.#files].map(([name, file]) => ({ name, ...file }));
    const sum = (of: (file: FileProgress) => number) => files.reduce((n, file) => n + of(file), 0);
    const total = { size: sum(({ size }) => size), done: sum(({ done }) => done) };
    const rate = this.#rate();
    const begun = files.filter(({ began }) => began < Infinity).sort((a, b) => a.began - b.began);
    return {
      files: begun.map(({ name, size, done }) => ({ name, size, done })),
      numFiles: files.length,
      total,
      rate,
      secondsLeft: rate === undefined || rate === 0 ? undefined : (total.size - total.done) / rate,
    };
  }

  #sample(): void {
    const ms = this.#now();
    const last = this.#samples.at(-1);
    if (last !== undefined && ms - last.ms < SAMPLE_MS) return;
    this.#samples.push({ ms, bytes: this.#numFetched });
    while (this.#samples.length > 2 && ms - this.#samples[1]!.ms >= WINDOW_MS) {
      this.#samples.shift();
    }
  }

  #rate(): number | undefined {
    const first = this.#samples[0];
    if (first === undefined) return undefined;
    const ms = this.#now() - first.ms;
    return ms < SAMPLE_MS ? undefined : (this.#numFetched - first.bytes) / ms * 1000;
  }
}
