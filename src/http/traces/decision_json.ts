import { describeDecision } from "../../core/describe_decision.ts";
import type { LoggedDecision } from "../../core/kv_decision.ts";

/** A decision as clients read it: its numbers in snake case, and a line for people. */
export function decisionJson(decision: LoggedDecision): Record<string, unknown> {
  const fields = Object.entries(decision).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value,
  ]);
  return { ...Object.fromEntries(fields), text: describeDecision(decision) };
}
