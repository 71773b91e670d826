/** In which Linux counts processor time. */
const TICKS_PER_SECOND = 100;

/** A process in Linux's own list. */
interface Listed {
  readonly parent: number;
  /** Processor time, its ended children's included, ticks. */
  readonly ticks: number;
}

/** A process and all below it, by id; empty elsewhere than on Linux. */
function familyOf(pid: number): Map<number, Listed> {
  const all = new Map<number, Listed>();
  if (Deno.build.os !== "linux") return all;
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
      const ticks = fields.slice(11, 15).reduce((sum, value) => sum + value, 0);
      all.set(Number(name), { parent: fields[1]!, ticks });
    } catch {
      // It has ended.
    }
  }
  const isBelow = (id: number): boolean =>
    id === pid || (all.has(id) && isBelow(all.get(id)!.parent));
  return new Map([...all].filter(([id]) => isBelow(id)));
}

/**
 * Processor time of a process and all below it, those that have ended as well, seconds; undefined
 * elsewhere than on Linux.
 */
export function cpuSeconds(pid: number): number | undefined {
  const family = [...familyOf(pid).values()];
  if (family.length === 0) return undefined;
  return family.reduce((sum, { ticks }) => sum + ticks, 0) / TICKS_PER_SECOND;
}

/** Ends a process and all below it: npx does not pass a signal on. */
export async function endFamily(child: Deno.ChildProcess): Promise<void> {
  const below = [...familyOf(child.pid).keys()].filter((id) => id !== child.pid);
  for (const id of below) {
    try {
      Deno.kill(id, "SIGTERM");
    } catch {
      // It has ended.
    }
  }
  if (below.length === 0) child.kill("SIGINT");
  await child.status;
}
