/// <reference lib="dom" />
import { html } from "htm/preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import {
  blockAt,
  type Colouring,
  drawBlocks,
  drawLens,
  type Grid,
  gridOf,
  type Scene,
} from "./block_grid.ts";
import { countKinds, groupOf, type Kind, kindOf, KINDS } from "./codec.ts";
import { type Colours, useColours } from "./colours.ts";
import type { Machine } from "./feed.ts";
import { count, shortId } from "./format.ts";

const LENS = { columns: 13, rows: 7, cell: 14 };

const KIND_WORDS: Readonly<Record<Kind, string>> = {
  free: "free",
  used: "in use",
  shared: "shared",
  cached: "cached",
  pinned: "pinned",
};

const COLOURINGS: readonly Colouring[] = ["state", "sequence", "group"];

/** The block under the pointer or the cursor, and where its tip is, in CSS pixels of the box. */
interface Spot {
  readonly block: number;
  readonly x: number;
  readonly y: number;
}

/** The pool as a map: every block a square, with a lens and words for the one pointed at. */
export function BlockMap({ machine, version, owner, onOwner }: {
  machine: Machine;
  /** Changes with the machine. */
  version: number;
  owner: number | undefined;
  onOwner: (id: number | undefined) => void;
}) {
  const colours = useColours();
  const [colouring, setColouring] = useState<Colouring>("state");
  const [group, setGroup] = useState<number>();
  return html`
    <section class="card map-card" aria-labelledby="map-title">
      <header class="card-head">
        <h2 id="map-title">Block pool</h2>
        <p class="card-note">${noteOf(machine)}</p>
        ${machine.notice !== "" && html`<p class="card-note warn">${machine.notice}</p>`}
        <div class="card-tools">
          <${Choice} label="Colour by" options=${COLOURINGS} value=${colouring} onChoose=${setColouring} />
          ${machine.groups.length > 1 && html`
            <select
              aria-label="Cache group"
              value=${group ?? ""}
              onChange=${(event: Event) => {
                const { value } = event.currentTarget as HTMLSelectElement;
                setGroup(value === "" ? undefined : Number(value));
              }}
            >
              <option value="">all groups</option>
              ${machine.groups.map((kind, i) => html`<option value=${i}>${i}: ${kind}</option>`)}
            </select>
          `}
        </div>
      </header>
      <${Legend} machine=${machine} colouring=${colouring} />
      <${Canvas}
        machine=${machine}
        version=${version}
        colours=${colours}
        colouring=${colouring}
        owner=${owner}
        group=${group}
        onOwner=${onOwner}
      />
    </section>
  `;
}

/** Buttons of which one is pressed. */
function Choice({ label, options, value, onChoose }: {
  label: string;
  options: readonly Colouring[];
  value: Colouring;
  onChoose: (value: Colouring) => void;
}) {
  return html`
    <div class="choice" role="group" aria-label=${label}>
      ${options.map((option) =>
        html`
          <button
            type="button"
            aria-pressed=${String(option === value)}
            onClick=${() => onChoose(option)}
          >${option}</button>
        `
      )}
    </div>
  `;
}

function Legend({ machine, colouring }: { machine: Machine; colouring: Colouring }) {
  const counts = countKinds(machine.picture);
  return html`
    <ul class="legend">
      ${KINDS.map((kind) =>
        html`
          <li>
            <span class="swatch ${colouring === "state" || kind === "free" || kind === "cached"
              ? kind
              : "many"}"></span>
            ${KIND_WORDS[kind]} <b>${count(counts[kind])}</b>
          </li>
        `
      )}
    </ul>
  `;
}

/** What of the map is drawn, and what a block that is chosen does. */
interface CanvasProps {
  readonly machine: Machine;
  readonly version: number;
  readonly colours: Colours;
  readonly colouring: Colouring;
  readonly owner: number | undefined;
  readonly group: number | undefined;
  readonly onOwner: (id: number | undefined) => void;
}

function Canvas(props: CanvasProps) {
  const { machine, version, colours, colouring, owner, group, onOwner } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useBoxSize(canvas);
  const scale = globalThis.devicePixelRatio || 1;
  const { picture } = machine;
  const grid = gridOf(picture.states.length, size.width * scale, size.height * scale);
  const scene: Scene = { picture, grid, colouring, colours, owner, group };
  useLayoutEffect(() => {
    fit(canvas.current!, size.width * scale, size.height * scale);
    drawBlocks(canvas.current!, scene);
  }, [version, size, colours, colouring, owner, group]);
  const { spot, leave, ...handlers } = useSpot(grid, scale, (block) => {
    const id = picture.firstHolders[block]!;
    onOwner(id < 0 || id === owner ? undefined : id);
  });
  return html`
    <div class="map-box" onPointerLeave=${leave}>
      <canvas
        class="map"
        ref=${canvas}
        tabindex="0"
        role="application"
        aria-roledescription="block map"
        aria-label=${`Map of ${count(grid.numBlocks)} blocks. Arrow keys go from block to block.`}
        onBlur=${leave}
        ...${handlers}
      ></canvas>
      ${spot !== undefined && spot.block < grid.numBlocks &&
        html`<${Tip} machine=${machine} scene=${scene} spot=${spot} boxWidth=${size.width} />`}
      <p class="visually-hidden" aria-live="polite">
        ${spot === undefined ? "" : wordsOf(machine, spot.block)}
      </p>
    </div>
  `;
}

/** Follows the pointer or the cursor of the keys over a grid, and says which block is chosen. */
function useSpot(grid: Grid, scale: number, choose: (block: number) => void) {
  const [spot, setSpot] = useState<Spot>();
  const leave = () => setSpot(undefined);
  const onPointerMove = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const block = blockAt(grid, x * scale, y * scale);
    setSpot(block === undefined ? undefined : { block, x, y });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const { columns, numBlocks, cell } = grid;
    const steps: Record<string, number> = {
      ...{ ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns },
    };
    const step = steps[event.key];
    if (step !== undefined) {
      event.preventDefault();
      const block = spot === undefined ? 0 : spot.block + step;
      const x = (block % columns + 0.5) * cell / scale;
      const y = (Math.floor(block / columns) + 0.5) * cell / scale;
      if (block >= 0 && block < numBlocks) setSpot({ block, x, y });
    } else if (event.key === "Escape") leave();
    else if (event.key === "Enter" && spot !== undefined) choose(spot.block);
  };
  const onClick = () => spot !== undefined && choose(spot.block);
  return { spot, leave, onPointerMove, onKeyDown, onClick };
}

/** Gives a canvas so many pixels; one that has as many keeps what is drawn. */
function fit(canvas: HTMLCanvasElement, width: number, height: number): void {
  const [wide, high] = [Math.round(width), Math.round(height)];
  if (canvas.width === wide && canvas.height === high) return;
  canvas.width = wide;
  canvas.height = high;
}

/** A lens and words for one block. */
function Tip({ machine, scene, spot, boxWidth }: {
  machine: Machine;
  scene: Scene;
  spot: Spot;
  boxWidth: number;
}) {
  const lens = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => drawLens(lens.current!, scene, spot.block, LENS));
  const width = LENS.columns * LENS.cell + 24;
  const left = Math.max(0, Math.min(spot.x + 14, boxWidth - width));
  return html`
    <div class="tip" style=${{ left: `${left}px`, top: `${spot.y + 16}px` }}>
      <canvas
        ref=${lens}
        width=${LENS.columns * LENS.cell}
        height=${LENS.rows * LENS.cell}
        aria-hidden="true"
      ></canvas>
      <p>${wordsOf(machine, spot.block)}</p>
    </div>
  `;
}

/** The size of an element's box, followed as it changes. */
function useBoxSize(element: { readonly current: HTMLElement | null }) {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry!.contentRect;
      setSize({ width, height });
    });
    observer.observe(element.current!);
    return () => observer.disconnect();
  }, []);
  return size;
}

function noteOf({ picture, blockSize, groups }: Machine): string {
  const { length } = picture.states;
  if (length === 0) return "";
  const several = groups.length > 1 ? `, ${groups.length} cache groups` : "";
  return `${length.toLocaleString("en")} blocks of ${blockSize} tokens${several}`;
}

/** What a block is and whose, in words. */
function wordsOf(machine: Machine, block: number): string {
  const { picture, groups, sequences, timelines } = machine;
  const kind = kindOf(picture, block);
  const name = `Block ${block}`;
  if (kind === "free") return `${name}: free`;
  const where = groups.length > 1 ? `, ${groups[groupOf(picture, block)] ?? "unknown group"}` : "";
  const isFindable = (picture.states[block]! & 1) !== 0 ? ", findable" : "";
  if (kind === "cached") return `${name}: cached, held by nobody${where}`;
  const id = picture.firstHolders[block]!;
  const numHolders = picture.holders[block]!;
  const { request_id, index } = sequences.find((row) => row.id === id) ?? {};
  const known = timelines.of(id);
  const request = request_id ?? known?.requestId;
  const whose = id < 0
    ? "held by a pin"
    : `of ${shortId(request ?? `sequence ${id}`, index ?? known?.index ?? 0)}`;
  const others = numHolders > 1 ? `, ${numHolders} holders` : "";
  return `${name}: ${KIND_WORDS[kind]} ${whose}${others}${isFindable}${where}`;
}
