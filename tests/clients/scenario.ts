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

/** Arguments of the tool that scenarios have called: the demo model draws them from a grammar. */
export const Place = z.object({ city: z.enum(["Paris", "Rome", "Oslo"]) });

/** What scenarios have answers parsed as. */
export const Mood = z.object({ mood: z.enum(["good", "bad"]), level: z.enum(["low", "high"]) });
