/**
 * Spans `[from, until)` of a numbered log, each with one cause. Spans are opened and asked about in
 * rising order, so only those that are not passed yet are kept.
 */
export class EventSpans {
  readonly #spans: { readonly from: number; until: number }[] = [];

  /** Begins a span at event `from`; `until` of the returned object is to be set when it ends. */
  open(from: number): { until: number } {
    const span = { from, until: Infinity };
    this.#spans.push(span);
    return span;
  }

  /** Whether event `seq` lies in a span; spans before it are forgotten. */
  includes(seq: number): boolean {
    while (this.#spans.length > 0 && this.#spans[0]!.until <= seq) this.#spans.shift();
    const [span] = this.#spans;
    return span !== undefined && span.from <= seq;
  }
}
