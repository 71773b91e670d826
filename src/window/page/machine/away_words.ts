import { count, duration } from "./format.ts";
import type { AwayMessage } from "./frames.ts";

/** What the room says in place of an engine. */
export interface AwayWords {
  readonly title: string;
  /** What is known beside the reason, a sentence each. */
  readonly facts: readonly string[];
}

const TITLES: Readonly<Record<AwayMessage["state"], string>> = {
  starting: "The engine is starting",
  ready: "The engine cannot be looked into",
  restarting: "The engine was lost",
  draining: "The server is shutting down",
  failed: "The engine has failed for good",
};

/**
 * Why there is no engine to look into, since when, when there is to be one, and what becomes of
 * requests.
 */
export function awayWords({ state, outage, stalled_seconds }: AwayMessage): AwayWords {
  if (stalled_seconds !== undefined) {
    const since = duration(1000 * Math.floor(stalled_seconds));
    return { title: "The engine does not get on", facts: [`It last got on ${since} ago.`] };
  }
  const title = TITLES[state];
  if (outage === undefined) return { title, facts: [] };
  const { seconds, failures_in_a_row, failures_allowed, next_try_in_seconds, requests_kept } =
    outage;
  const next = next_try_in_seconds === undefined
    ? "Another is being started."
    : `Another is started in ${duration(1000 * next_try_in_seconds)}.`;
  const limit = failures_allowed === undefined
    ? ""
    : `, and ${count(failures_allowed)} are too many`;
  return {
    title,
    facts: [
      `It was lost ${duration(1000 * Math.floor(seconds))} ago. ${next}`,
      requests_kept === 0
        ? "No request was under way."
        : `${count(requests_kept)} ${requests_kept === 1 ? "request goes" : "requests go"} on ` +
          "with the next engine.",
      ...(failures_in_a_row < 2
        ? []
        : [`${count(failures_in_a_row)} engines have failed in a row${limit}.`]),
    ],
  };
}
