/// <reference lib="dom" />
import { type BlockPicture, groupOf, kindOf, KINDS } from "./codec.ts";
import { colourOf, type Colours, rgbOf } from "./colours.ts";

/** What the colour of a block says. */
export type Colouring = "state" | "sequence" | "group";

/** How blocks lie in a box: row by row, each a square of `cell` pixels of the device. */
export interface Grid {
  readonly numBlocks: number;
  readonly columns: number;
  readonly rows: number;
  readonly cell: number;
}

/** What is drawn. */
export interface Scene {
  readonly picture: BlockPicture;
  readonly grid: Grid;
  readonly colouring: Colouring;
  readonly colours: Colours;
  /** The sequence whose blocks stand out; absent: none. */
  readonly owner: number | undefined;
  /** The cache group that is shown alone; absent: all are. */
  readonly group: number | undefined;
}

/** The largest cell. */
const MAX_CELL = 48;

/** Cells from this size on have a gap between them. */
const GAP_FROM = 4;

/** The largest squares with which all blocks fit into a box, in pixels of the device. */
export function gridOf(numBlocks: number, width: number, height: number): Grid {
  let cell = Math.max(1, Math.floor(Math.sqrt(width * height / Math.max(1, numBlocks))));
  cell = Math.min(cell, MAX_CELL);
  while (cell > 1 && Math.floor(width / cell) * Math.floor(height / cell) < numBlocks) cell--;
  const columns = Math.max(1, Math.floor(width / cell));
  return { numBlocks, columns, rows: Math.ceil(numBlocks / columns), cell };
}

/** The block at a place of the box, in pixels of the device; undefined where there is none. */
export function blockAt({ cell, columns, numBlocks }: Grid, x: number, y: number) {
  const column = Math.floor(x / cell);
  if (x < 0 || y < 0 || column >= columns) return undefined;
  const block = Math.floor(y / cell) * columns + column;
  return block < numBlocks ? block : undefined;
}

/** Draws all blocks: as one image of a pixel each, made larger, and then the gaps. O(blocks). */
export function drawBlocks(canvas: HTMLCanvasElement, scene: Scene): void {
  const { grid: { columns, rows, cell, numBlocks }, colours } = scene;
  const context = canvas.getContext("2d")!;
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (numBlocks === 0) return;
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const painter = painterOf(scene);
  for (let block = 0; block < numBlocks; block++) pixels[block] = painter(block);
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d")!.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, columns * cell, rows * cell);
  if (cell < GAP_FROM) return;
  context.fillStyle = colours.surface;
  const gap = cell >= 12 ? 2 : 1;
  for (let x = 1; x <= columns; x++) context.fillRect(x * cell - gap, 0, gap, rows * cell);
  for (let y = 1; y <= rows; y++) context.fillRect(0, y * cell - gap, columns * cell, gap);
}

/** Draws a few blocks around one, large, for a lens of `columns` times `rows` blocks. */
export function drawLens(
  canvas: HTMLCanvasElement,
  scene: Scene,
  block: number,
  size: { readonly columns: number; readonly rows: number; readonly cell: number },
): void {
  const { grid, colours } = scene;
  const context = canvas.getContext("2d")!;
  const painter = painterOf(scene);
  const image = new ImageData(1, 1);
  const pixel = new Uint32Array(image.data.buffer);
  context.fillStyle = colours.surface;
  context.fillRect(0, 0, canvas.width, canvas.height);
  const left = block % grid.columns - (size.columns >> 1);
  const top = Math.floor(block / grid.columns) - (size.rows >> 1);
  for (let row = 0; row < size.rows; row++) {
    for (let column = 0; column < size.columns; column++) {
      const x = left + column;
      const at = (top + row) * grid.columns + x;
      if (x < 0 || x >= grid.columns || at < 0 || at >= grid.numBlocks) continue;
      pixel[0] = painter(at);
      const [red, green, blue] = image.data;
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      const gap = 1;
      context.fillRect(column * size.cell, row * size.cell, size.cell - gap, size.cell - gap);
      if (at !== block) continue;
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      context.strokeRect(column * size.cell, row * size.cell, size.cell - gap, size.cell - gap);
    }
  }
}

/** Gives each block its pixel. */
function painterOf(
  { picture, colouring, colours, owner, group }: Scene,
): (block: number) => number {
  const free = pixelOf(colours.kinds.free);
  const dim = Object.fromEntries(
    KINDS.map((kind) => [kind, blend(colours.kinds.free, colours.kinds[kind], 0.2)]),
  );
  const kinds = Object.fromEntries(
    Object.entries(colours.kinds).map(([kind, colour]) => [kind, pixelOf(colour)]),
  );
  const bySequence = new Map<number, number>();
  const byGroup = colours.series.map(pixelOf);
  return (block) => {
    const kind = kindOf(picture, block);
    const sequence = picture.firstHolders[block]!;
    if (group !== undefined && kind !== "free" && groupOf(picture, block) !== group) {
      return dim[kind]!;
    }
    if (owner !== undefined && sequence !== owner) return dim[kind]!;
    if (kind === "free") return free;
    if (colouring === "group") return byGroup[groupOf(picture, block) % byGroup.length]!;
    if (colouring === "state" || sequence < 0) return kinds[kind]!;
    let pixel = bySequence.get(sequence);
    if (pixel === undefined) {
      bySequence.set(sequence, pixel = pixelOf(colourOf(sequence, colours.isDark)));
    }
    return pixel;
  };
}

function pixelOf(colour: string): number {
  const [red, green, blue] = rgbOf(colour);
  return (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
}

function blend(from: string, to: string, share: number): number {
  const a = rgbOf(from);
  const b = rgbOf(to);
  const [red, green, blue] = a.map((value, i) => Math.round(value + (b[i]! - value) * share));
  return (255 << 24 | blue! << 16 | green! << 8 | red!) >>> 0;
}
