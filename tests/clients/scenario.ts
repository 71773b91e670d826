import { assert } from "@std/assert";
import { z } from "zod";

/** What one client does with the server, named. */
export type Scenario = readonly [name: string, run: (server: Server) => Promise<void>];

/** The server that clients talk to. */
export interface Server {
  /** Without `/v1`. */
  readonly url: string;
  readonly model: string;
}

/** A prompt whose greedy answer the demo model has learned. */
export const HELLO = "Hello!";
export const ANSWER = "Hello! How can I help you?";

/** Texts of which the first two are alike. */
export const TEXTS = [
  ...["The fox found a lantern.", "A fox has a lantern.", "Count from 3 to 12."],
];

/** That vectors of {@link TEXTS} have a length of 1, and the first two of them are closest. */
export function checkVectors([fox, other, count]: readonly (readonly number[])[]): void {
  const dot = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  assert(Math.abs(dot(fox!, fox!) - 1) < 1e-4);
  assert(dot(fox!, other!) > dot(fox!, count!));
}

/** Arguments of the tool that scenarios have called: the demo model draws them from a grammar. */
export const Place = z.object({ city: z.enum(["Paris", "Rome", "Oslo"]) });

/** What scenarios have answers parsed as. */
export const Mood = z.object({ mood: z.enum(["good", "bad"]), level: z.enum(["low", "high"]) });
