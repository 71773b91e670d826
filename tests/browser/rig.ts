import { assert } from "@std/assert";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { Between } from "./between.ts";

/** What one test does in the browser, named. */
export type Scenario = readonly [name: string, run: (rig: Rig) => Promise<void>];

/** A prompt whose answer is a story of some hundred tokens; greedy by default, so always the same. */
export const PROMPT = "Tell me a story about a fox and a lantern.";

/**
 * Pages of the browser's own for the address bar of every window, which nobody sees: they take as
 * much processor time as the page under test.
 */
const UNSEEN = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"];

const ARGS: readonly string[] = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  `--disable-features=${UNSEEN.join()}`,
];

/** A browser and a server, with a fresh profile and page for each scenario. */
export class Rig {
  readonly between: Between;
  readonly #browser: Browser;
  #context: BrowserContext | undefined;
  /** What went wrong in the page by itself: exceptions, and what its policy has stopped. */
  readonly complaints: string[] = [];

  private constructor(browser: Browser, between: Between) {
    this.#browser = browser;
    this.between = between;
  }

  static async open(target: string, executablePath: string): Promise<Rig> {
    return new Rig(await chromium.launch({ executablePath, args: [...ARGS] }), new Between(target));
  }

  async close(): Promise<void> {
    await this.#browser.close();
    await this.between.close();
  }

  /** Ends the scenario before and opens the window as a new visitor. */
  async visit(
    { width = 1280, height = 800, colorScheme = "light" as "light" | "dark", hash = "" } = {},
  ): Promise<Page> {
    await this.#context?.close();
    this.between.release();
    Object.assign(this.between, {
      said: undefined,
      thought: undefined,
      health: undefined,
      machine: undefined,
      key: undefined,
    });
    this.between.calls.length = 0;
    this.complaints.length = 0;
    const viewport = { width, height };
    this.#context = await this.#browser.newContext({ viewport, colorScheme });
    const page = await this.#context.newPage();
    page.setDefaultTimeout(30_000);
    page.on("pageerror", (error) => this.complaints.push(error.message));
    page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) this.complaints.push(message.text());
    });
    await page.goto(this.between.url + hash);
    return page;
  }
}

/** Says something in the field, and waits until it is shown. */
export async function say(page: Page, text: string): Promise<void> {
  const messages = page.locator(".message");
  const count = await messages.count();
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
  await messages.nth(count + 1).waitFor();
}

/** Begins another conversation, and waits until it is shown. */
export async function startNew(page: Page): Promise<void> {
  await page.getByRole("button", { name: "New conversation" }).click();
  await page.locator(".welcome").waitFor();
}

/** Asks for the last answer once more, and waits until that is shown, as its second version. */
export async function askAgain(page: Page): Promise<void> {
  await page.getByLabel("Answer again").last().click();
  await page.getByText("2/2").waitFor();
}

/** Waits until no answer is under way, and returns the text of the last one. */
export async function answerOf(page: Page): Promise<string> {
  await page.locator(".message.assistant:last-child [aria-label='Answer again']").waitFor();
  return await page.locator(".message.assistant .markdown").last().innerText();
}

/** Waits until an answer has begun and is held. */
export async function heldAnswer(page: Page): Promise<string> {
  const answer = page.locator(".message.assistant .markdown").last();
  await answer.getByText(/\w+ \w+/).first().waitFor();
  return await answer.innerText();
}

/** Waits for some frames, after which what follows a drawing has been done. */
export async function someFrames(page: Page): Promise<void> {
  await page.evaluate(async () => {
    for (let i = 0; i < 10; i++) await new Promise(requestAnimationFrame);
  });
}

/** The page is no wider than the screen. */
export async function assertFits(page: Page, what: string): Promise<void> {
  const { inner, outer } = await page.evaluate(() => ({
    inner: document.documentElement.scrollWidth,
    outer: innerWidth,
  }));
  assert(inner <= outer, `${what}: ${inner} pixels on a screen of ${outer}`);
}
