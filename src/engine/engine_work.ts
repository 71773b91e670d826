import type { Batch } from "../core/batch.ts";

/** What an engine is at, for whoever asks why it does not get on. */
export class EngineWork {
  #what: "nothing" | "plan" | "step" | "commit" | "growth" | "command" = "nothing";
  #batch: Batch | undefined;
  #command = "";

  /** It rests. */
  rest(): void {
    this.#what = "nothing";
  }

  /** It decides who runs. */
  plan(): void {
    this.#what = "plan";
  }

  /** The device computes a step. */
  run(batch: Batch): void {
    this.#what = "step";
    this.#batch = batch;
  }

  /** The results of that step are taken in. */
  commit(): void {
    this.#what = "commit";
  }

  /** The device gets a larger pool. */
  grow(): void {
    this.#what = "growth";
  }

  /** A command of this type is carried out. */
  command(type: string): void {
    this.#what = "command";
    this.#command = type;
  }

  /** In words; undefined at rest. */
  describe(): string | undefined {
    switch (this.#what) {
      case "nothing":
        return undefined;
      case "plan":
        return "the next step is planned";
      case "step":
        return `the device computes ${describeStep(this.#batch!)}`;
      case "commit":
        return `the host takes in the results of ${describeStep(this.#batch!)}`;
      case "growth":
        return "the device is asked for a larger KV pool";
      case "command":
        return `the command ${this.#command} is carried out`;
    }
  }
}

function describeStep({ step, chunks, numTokens }: Batch): string {
  return `step ${step} of ${chunks.length} chunks and ${numTokens} tokens`;
}
