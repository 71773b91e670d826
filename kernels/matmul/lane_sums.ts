import rowSums from "./_row_sums.wgsl" with { type: "text" };
import shareSums from "./_share_sums.wgsl" with { type: "text" };

/**
 * A product's template with what takes up the sums of a lane, `a${r}_${m}` of TILE_R rows and W
 * weight rows, on the lines `${rowSums}` and `${shareSums}`.
 */
export function withLaneSums(template: string): string {
  return template.replaceAll("${rowSums}\n", () => rowSums)
    .replaceAll("${shareSums}\n", () => shareSums);
}
