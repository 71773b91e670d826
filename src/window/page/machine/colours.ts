/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import type { Kind } from "./codec.ts";

/** Colours of the theme, for what is drawn on a canvas. */
export interface Colours {
  readonly kinds: Readonly<Record<Kind, string>>;
  readonly ink: string;
  readonly ink2: string;
  readonly line: string;
  readonly surface: string;
  readonly accent: string;
  readonly series: readonly string[];
  readonly isDark: boolean;
}

/** The colours of the theme that is shown now. */
export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    kinds: {
      free: of("--block-free"),
      used: of("--block-used"),
      shared: of("--block-shared"),
      cached: of("--block-cached"),
      pinned: of("--block-pinned"),
    },
    ink: of("--ink"),
    ink2: of("--ink-2"),
    line: of("--line"),
    surface: of("--surface"),
    accent: of("--accent"),
    series: [of("--series-1"), of("--series-2"), of("--series-3"), of("--series-4")],
    isDark: style.colorScheme === "dark",
  };
}

/** The colours of the theme, read again when it changes. */
export function useColours(): Colours {
  const [colours, setColours] = useState(readColours);
  useEffect(() => {
    const read = () => setColours(readColours());
    const system = matchMedia("(prefers-color-scheme: dark)");
    const observer = new MutationObserver(read);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    system.addEventListener("change", read);
    return () => {
      observer.disconnect();
      system.removeEventListener("change", read);
    };
  }, []);
  return colours;
}

/** A colour of its own for each number: neighbours are far apart. */
export function colourOf(id: number, isDark: boolean): string {
  const hue = Math.round(id * 137.508 % 360);
  return isDark ? `hsl(${hue} 45% 62%)` : `hsl(${hue} 48% 46%)`;
}

/** Red, green and blue of a colour as CSS writes it. */
export function rgbOf(colour: string): readonly [number, number, number] {
  const known = parsed.get(colour);
  if (known !== undefined) return known;
  const context = probe.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  const rgb = [red!, green!, blue!] as const;
  parsed.set(colour, rgb);
  return rgb;
}

const parsed = new Map<string, readonly [number, number, number]>();
const probe = new OffscreenCanvas(1, 1) as unknown as HTMLCanvasElement;
