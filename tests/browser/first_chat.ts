import { createInterface } from "node:readline";
import process from "node:process";
import { chromium } from "playwright-core";

/**
 * Opens a browser, waits for the URL of a server on standard input, and asks there as a visitor who
 * types at once: `first_chat.ts CHROMIUM`. Prints a line when it may be given the URL, and then one
 * of JSON: when the page was shown, and the first and the last text of the answer, ms since 1970.
 */
const args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath: Deno.args[0]!, args });
const page = await browser.newPage();
console.log("open");
const { value: url } = await createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  .next();
page.setDefaultTimeout(120_000);
await page.goto(url!);
const field = page.getByLabel("Message", { exact: true });
await field.waitFor();
const shownMs = Date.now();
await field.fill("Tell me a story about a fox and a lantern.");
await page.keyboard.press("Enter");
await page.locator(".message.assistant .markdown").last().getByText(/\w/).first().waitFor();
const firstMs = Date.now();
await page.locator(".message.assistant:last-child [aria-label='Answer again']").waitFor();
console.log(JSON.stringify({ shownMs, firstMs, wholeMs: Date.now() }));
await browser.close();
Deno.exit(0);
