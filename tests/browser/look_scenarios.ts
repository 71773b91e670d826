import { assert, assertEquals } from "@std/assert";
import type { Page } from "playwright-core";
import { PAYLOADS } from "./payloads.ts";
import { answerOf, assertFits, PROMPT, type Rig, say, type Scenario, someFrames } from "./rig.ts";

/** Least contrast of text with what is behind it (WCAG 2.2, 1.4.3). */
export const MIN_CONTRAST = 4.5;

/** Texts of the page whose contrast is too small. */
export function faintTexts(least: number): string[] {
  const channels = (color: string) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (color: string) => {
    const [r, g, b] = channels(color).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const backgroundOf = (element: Element | null): string => {
    for (let at = element; at !== null; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if ((channels(backgroundColor)[3] ?? 1) === 1) return backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")].flatMap((element) => {
    const own = [...element.childNodes].find((node) =>
      node.nodeType === Node.TEXT_NODE && node.textContent!.trim() !== ""
    );
    const isOff = element.closest(":disabled, .visually-hidden, noscript") !== null;
    if (own === undefined || isOff || !(element as HTMLElement).checkVisibility()) return [];
    const [a, b] = [getComputedStyle(element).color, backgroundOf(element)].map(luminance);
    const ratio = (Math.max(a!, b!) + 0.05) / (Math.min(a!, b!) + 0.05);
    return ratio >= least ? [] : [`${own.textContent!.trim().slice(0, 40)}: ${ratio.toFixed(2)}`];
  });
}

async function themes(rig: Rig) {
  const backgrounds = new Set<string>();
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await rig.visit({ colorScheme });
    await say(page, "Hello!");
    await answerOf(page);
    await page.getByRole("button", { name: "Settings" }).click();
    assertEquals(await page.evaluate(faintTexts, MIN_CONTRAST), [], colorScheme);
    backgrounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    await page.getByRole("button", { name: /theme$/ }).click();
    backgrounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    await page.reload();
    const kept = await page.evaluate(() => document.documentElement.dataset.theme);
    assertEquals(kept, colorScheme === "light" ? "dark" : "light");
  }
  assertEquals(backgrounds.size, 2);
}

async function narrow(rig: Rig) {
  const page = await rig.visit({ width: 360, height: 640 });
  await say(page, PROMPT);
  await answerOf(page);
  await assertFits(page, "an answer");
  await page.getByRole("button", { name: "Settings" }).click();
  await assertFits(page, "settings");
  await page.getByRole("button", { name: "Close the settings" }).click();
  await page.getByRole("button", { name: "Conversations" }).click();
  await assertFits(page, "conversations");
  // A conversation that is chosen is shown, and the list goes.
  await page.locator(".entry .entry-name").first().click();
  await page.locator(".sidebar").waitFor({ state: "detached" });
  const field = await page.locator("#composer").boundingBox();
  assert(field !== null && field.x >= 0 && field.x + field.width <= 360, JSON.stringify(field));
}

/** What has the focus, by role and name. */
function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement!;
    return element.getAttribute("aria-label") ?? element.textContent!.trim();
  });
}

async function keyboard(rig: Rig) {
  const page = await rig.visit();
  await page.locator("#composer:focus").waitFor();
  await page.keyboard.type("Hello!");
  await page.keyboard.press("Enter");
  await answerOf(page);
  // Every stop of the tabulator has a name, and the field is reached again.
  const names: string[] = [];
  for (let i = 0; i < 40 && names.at(-1) !== "Message"; i++) {
    await page.keyboard.press("Tab");
    names.push(await focused(page));
  }
  assert(names.length > 8 && names.every((name) => name !== ""), names.join(", "));
  assert(names.includes("Answer again") || names.includes("Chat"), names.join(", "));
  await page.keyboard.press("ArrowUp");
  await page.getByLabel("The message, edited").waitFor();
  await page.keyboard.press("Control+a");
  await page.keyboard.type("Hello again!");
  await page.keyboard.press("Control+Enter");
  await page.getByText("2/2").first().waitFor();
  await answerOf(page);
  await page.getByRole("tab", { name: "Chat" }).focus();
  await page.keyboard.press("ArrowRight");
  assertEquals(await focused(page), "Machine room");
  assert(await page.locator("#machine-panel").isVisible());
  await page.keyboard.press("ArrowLeft");
  assert(await page.locator("#composer").isVisible());
  // What is read from the store late does not take the focus from where one types.
  await page.addInitScript(holdStore);
  await page.reload();
  await page.getByLabel("Search conversations").fill("hello");
  await page.evaluate("releaseStore()");
  await page.locator(".message").first().waitFor();
  await someFrames(page);
  assertEquals(await focused(page), "Search conversations");
}

/** Lets what the page's store holds be read only after `releaseStore()`. */
function holdStore(): void {
  const isReleased = new Promise((resolve) => Object.assign(globalThis, { releaseStore: resolve }));
  const listen = EventTarget.prototype.addEventListener;
  IDBOpenDBRequest.prototype.addEventListener = function (type: string, listener: EventListener) {
    const late: EventListener = (event) => void isReleased.then(() => listener(event));
    listen.call(this, type, type === "success" ? late : listener);
  };
}

async function still(rig: Rig) {
  const page = await rig.visit();
  await page.locator("#composer").waitFor();
  await page.getByText("quire-demo").waitFor();
  const shift = await page.evaluate(() =>
    new Promise<number>((resolve) => {
      new PerformanceObserver((list) =>
        // deno-lint-ignore no-explicit-any -- LayoutShift is not in the library of types
        resolve(list.getEntries().reduce((sum, entry) => sum + (entry as any).value, 0))
      ).observe({ type: "layout-shift", buffered: true });
      setTimeout(() => resolve(0), 200);
    })
  );
  assert(shift < 0.01, `shifted by ${shift}`);
}

const MARKDOWN = `## A lantern

| kind | hours |
| - | -: |
| oil | 12 |

\`\`\`ts
const lit = true;
\`\`\`

[More](https://example.org) ![A picture](https://example.org/a.png)`;

async function markdown(rig: Rig) {
  const page = await rig.visit();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  Object.assign(rig.between, { said: MARKDOWN, thought: "They ask for **lanterns**." });
  await say(page, "What is a lantern?");
  await answerOf(page);
  const answer = page.locator(".answer > .markdown");
  assertEquals(await answer.locator("h2").innerText(), "A lantern");
  assertEquals(await answer.locator("td").allInnerTexts(), ["oil", "12"]);
  assertEquals(
    await answer.locator("a").evaluateAll((links) =>
      links.map((link) => [link.textContent, (link as HTMLAnchorElement).rel.includes("noopener")])
    ),
    [["More", true], ["A picture", true]],
  );
  await page.getByLabel("Copy code").click();
  await page.getByLabel("Copied").waitFor();
  assertEquals(await page.evaluate(() => navigator.clipboard.readText()), "const lit = true;");
  const thought = page.locator(".thought");
  assert(!await thought.getByText("lanterns").isVisible());
  await thought.locator("summary").click();
  assertEquals(await thought.locator("strong").innerText(), "lanterns");
}

async function payloads(rig: Rig) {
  assert(PAYLOADS.length >= 200, `${PAYLOADS.length} payloads`);
  const page = await rig.visit();
  for (let i = 0; i < PAYLOADS.length; i += 70) {
    rig.between.said = PAYLOADS.slice(i, i + 70).join("\n\n---\n\n");
    await say(page, rig.between.said);
    await answerOf(page);
  }
  for (const link of await page.locator(".markdown a").all()) await link.hover({ force: true });
  const found = await page.evaluate(() => ({
    ran: (globalThis as unknown as { ran?: number }).ran,
    hasChanged: document.baseURI !== location.origin + "/",
    odd: [...document.querySelectorAll(".message *")].filter((element) =>
      /^(script|style|iframe|object|embed|base|meta|link|form|img|video|audio|math|template|x)$/i
        .test(element.localName) ||
      [...element.attributes].some(({ name, value }) =>
        name.startsWith("on") || /^\s*(javascript|data|vbscript):/i.test(value)
      )
    ).map(({ outerHTML }) => outerHTML.slice(0, 100)),
  }));
  assertEquals(found, { ran: undefined, hasChanged: false, odd: [] } as typeof found);
  assertEquals(rig.complaints, []);
  // What got past the sanitizer would meet the policy.
  await page.evaluate(() => {
    const act = "window.ran=1";
    const box = document.createElement("div");
    box.innerHTML =
      `<img src="data:," onerror="${act}"><iframe srcdoc="<script>parent.${act}</script>">`;
    const script = document.createElement("script");
    script.textContent = act;
    document.body.append(box, script);
  });
  await page.waitForTimeout(100);
  assertEquals(await page.evaluate(() => "ran" in globalThis), false);
  assert(rig.complaints.length >= 2, "the policy has stopped nothing");
}

/** How the window looks and feels, and what it lets nobody do. */
export const LOOK: readonly Scenario[] = [
  ["both themes are readable, follow the system and are remembered", themes],
  ["nothing is wider than a screen of 360 pixels", narrow],
  ["everything works from the keyboard", keyboard],
  ["nothing moves while the page loads", still],
  ["markdown is shown, code is copied, thoughts are folded", markdown],
  ["markup in an answer never runs", payloads],
];
