const FACTORS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["b", 1],
  ["kib", 2 ** 10],
  ["mib", 2 ** 20],
  ["gib", 2 ** 30],
  ["tib", 2 ** 40],
]);

/**
 * Bytes that a text such as `4096`, `512MiB` or `1.5 GiB` means, rounded down, or undefined when it
 * has another form. Decimal units (`GB`) are not accepted, since people mistake them for binary
 * ones.
 */
export function parseByteSize(text: string): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const factor = unit === undefined ? undefined : FACTORS.get(unit.toLowerCase());
  return factor === undefined ? undefined : Math.floor(Number(digits) * factor);
}

/** `bytes` for people, in the largest binary unit that keeps it at 1 or more: `2.5 GiB`. */
export function formatByteSize(bytes: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"]) {
    const value = bytes / FACTORS.get(unit.toLowerCase())!;
    if (value >= 1) return `${Number(value.toFixed(value < 10 ? 2 : 1))} ${unit}`;
  }
  return `${bytes} B`;
}
