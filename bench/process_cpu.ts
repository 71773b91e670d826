/** In which Linux counts processor time. */
const TICKS_PER_SECOND = 100;

/**
 * Processor time of a process and all below it, those that have ended as well, seconds; undefined
 * elsewhere than on Linux.
 */
export function cpuSeconds(pid: number): number | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const ticks = new Map<number, { readonly parent: number; readonly own: number }>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
      const own = fields.slice(11, 15).reduce((sum, value) => sum + value, 0);
      ticks.set(Number(name), { parent: fields[1]!, own });
    } catch {
      // It has ended.
    }
  }
  const isBelow = (id: number): boolean =>
    id === pid || (ticks.has(id) && isBelow(ticks.get(id)!.parent));
  const all = [...ticks].filter(([id]) => isBelow(id));
  return all.reduce((sum, [, { own }]) => sum + own, 0) / TICKS_PER_SECOND;
}
