import type { ServerProcess } from "../tests/support/server_process.ts";

/** Steps that a server has computed so far; several decode steps in one submission count once. */
export function numStepsOf(server: ServerProcess): Promise<number> {
  return server.metric("quire:steps_total");
}

/** Has a server complete so many prompts at once, to their last token; other rounds have others. */
export async function complete(
  server: ServerProcess,
  { count, round, fields }: {
    readonly count: number;
    readonly round: number;
    /** Of each request, beside its prompt. */
    readonly fields: object;
  },
): Promise<void> {
  await Promise.all(Array.from({ length: count }, async (_, i) => {
    const prompt = `Round ${round}. Once upon a time child number ${i} found`;
    const response = await server.post("/v1/completions", {
      ...{ prompt, ignore_eos: true, ...fields },
    });
    await response.text();
  }));
}
