/** Bars of one measure in one group. */
export interface Bar {
  readonly label: string;
  readonly value: number;
}

/** Groups of bars with one scale each. */
export interface Panel {
  readonly title: string;
  readonly groups: readonly { readonly title: string; readonly bars: readonly Bar[] }[];
  /** How a value is written. */
  readonly format: (value: number) => string;
}

const WIDTH = 300;
const LABEL = 118;
const BAR = 15;
const GROUP_GAP = 26;
const HEAD = 46;
const COLORS = ["#9aa0a6", "#6b7f99", "#4f7cac", "#3d8f8a", "#c08a3e", "#b5483a", "#7a5aa6"];

/**
 * Draws panels side by side, groups below one another, as an SVG that needs nothing else. The bars
 * of a group are as long as their values beside the largest of the group.
 */
export function barChart(title: string, panels: readonly Panel[]): string {
  const height = HEAD + Math.max(...panels.map(panelHeight)) + 8;
  const width = panels.length * WIDTH + 16;
  const body = panels.map((panel, i) =>
    `<g transform="translate(${8 + i * WIDTH} ${HEAD})">${drawPanel(panel)}</g>`
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="11" role="img">`,
    `<title>${escape(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="8" y="18" font-size="14" font-weight="600" fill="#202124">${escape(title)}</text>`,
    ...body,
    "</svg>",
    "",
  ].join("\n");
}

function panelHeight({ groups }: Panel): number {
  return groups.reduce((sum, { bars }) => sum + GROUP_GAP + bars.length * BAR, 0);
}

function drawPanel({ title, groups, format }: Panel): string {
  let y = 0;
  const parts = [
    `<text x="0" y="-8" font-weight="600" fill="#202124">${escape(title)}</text>`,
  ];
  for (const group of groups) {
    parts.push(`<text x="0" y="${y + 14}" fill="#5f6368">${escape(group.title)}</text>`);
    y += GROUP_GAP - 6;
    const most = Math.max(...group.bars.map(({ value }) => value), Number.MIN_VALUE);
    group.bars.forEach((bar, i) => {
      const length = round(Math.max(1, bar.value / most * (WIDTH - LABEL - 70)));
      parts.push(
        `<text x="0" y="${y + 11}" fill="#202124">${escape(bar.label)}</text>` +
          `<rect x="${LABEL}" y="${y + 2}" width="${length}" height="${BAR - 4}" ` +
          `fill="${COLORS[i % COLORS.length]}"/>` +
          `<text x="${round(LABEL + length + 4)}" y="${y + 11}" fill="#202124">${
            escape(format(bar.value))
          }</text>`,
      );
      y += BAR;
    });
    y += 6;
  }
  return parts.join("\n");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
