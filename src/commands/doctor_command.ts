import type { DoctorConfig } from "../core/doctor_config.ts";
import type { Style } from "../terminal/style.ts";
import { diagnose, type Finding } from "./diagnosis.ts";
import { type Machine, thisMachine } from "./machine.ts";

/** What `quire doctor` prints, and whether `quire serve` could start. */
export interface DoctorReport {
  readonly text: string;
  readonly canServe: boolean;
}

/** Looks at this machine. */
export async function doctorCommand(
  config: DoctorConfig,
  style: Style,
  machine: Machine = thisMachine,
): Promise<DoctorReport> {
  const findings = await diagnose(config, machine);
  const canServe = findings.every(({ state }) => state !== "missing");
  if (config.json) return { text: JSON.stringify({ can_serve: canServe, findings }), canServe };
  return { text: reportText(findings, canServe, style), canServe };
}

/** Findings as lines, one per thing, and a line on how to get it below what is missing. */
export function reportText(
  findings: readonly Finding[],
  canServe: boolean,
  style: Style,
): string {
  const width = Math.max(...findings.map(({ area }) => area.length));
  const marks = { ok: style.green("ok"), note: style.yellow("--"), missing: style.red("!!") };
  const lines = findings.flatMap(({ area, state, text, remedy }) => [
    `${marks[state]}  ${style.bold(area.padEnd(width))}  ${text}`,
    ...(remedy === undefined ? [] : [`${" ".repeat(width + 6)}${style.cyan("->")} ${remedy}`]),
  ]);
  const numNotes = findings.filter(({ state }) => state === "note").length;
  const verdict = !canServe
    ? style.red("quire serve cannot start here: see the lines with !!")
    : numNotes === 0
    ? style.green("quire serve can start here, with everything it can use")
    : `quire serve can start here; ${numNotes === 1 ? "one line says" : `${numNotes} lines say`} ` +
      "what would make it better (--)";
  return [...lines, "", verdict].join("\n");
}
