/**
 * Bounds the work done in one turn of the event loop and defers the rest: many small pieces that
 * arrive at once hold up nothing else for longer than one turn's share.
 */
export class TurnBudget {
  readonly #perTurn: number;
  #spent = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #waiting: { readonly units: number; readonly begin: () => void }[] = [];

  /** @param perTurn units of work; a single piece may be larger, and then has a turn for itself. */
  constructor(perTurn: number) {
    this.#perTurn = perTurn;
  }

  /**
   * Resolves when `units` of work may be done, in order of the calls; at once where the turn has
   * room.
   */
  async take(units: number): Promise<void> {
    if (this.#waiting.length > 0 || !this.#hasRoomFor(units)) {
      await new Promise<void>((begin) => this.#waiting.push({ units, begin }));
    } else {
      this.#spend(units);
    }
  }

  /** Ends the turn and admits waiting work. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const { begin } of this.#waiting.splice(0)) begin();
  }

  #hasRoomFor(units: number): boolean {
    return this.#spent === 0 || this.#spent + units <= this.#perTurn;
  }

  #spend(units: number): void {
    this.#spent += units;
    this.#timer ??= setTimeout(() => this.#beginTurn(), 0);
  }

  #beginTurn(): void {
    this.#timer = undefined;
    this.#spent = 0;
    while (this.#waiting.length > 0 && this.#hasRoomFor(this.#waiting[0]!.units)) {
      const { units, begin } = this.#waiting.shift()!;
      this.#spend(units);
      begin();
    }
  }
}
