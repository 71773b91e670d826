import type { BlockId } from "../../core/ids.ts";

/** Names an input by its content, and whatever else decides what the encoder makes of it. */
export type ContentKey = string;

/** Whose output is cached, where it can be found. */
export interface EntryName {
  readonly group: number;
  /** The scope in which it can be found; empty is the open one. */
  readonly scope: string;
  readonly key: ContentKey;
}

/** The output of an encoder for one input, in one group. */
export interface EncoderEntry extends EntryName {
  /** In order of the output's positions; at least one. A resize puts another list here. */
  blocks: readonly BlockId[];
}
