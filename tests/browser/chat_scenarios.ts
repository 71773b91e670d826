import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import {
  answerOf,
  askAgain,
  heldAnswer,
  PROMPT,
  type Rig,
  say,
  type Scenario,
  someFrames,
  startNew,
} from "./rig.ts";

/** Events of an answer after which it is held. */
const HELD_AFTER = 12;

async function whileStarting(rig: Rig) {
  const page = await rig.visit();
  const start = { phase: "load weights: 40 %", seconds: 3.2 };
  rig.between.health = { status: "unavailable", state: "starting", start };
  await page.reload();
  await page.getByText("Loading the weights, 40 % · 3 s").waitFor();
  await say(page, PROMPT);
  await page.getByText("Asked as soon as the model is ready").waitFor();
  assertEquals(rig.between.calls.length, 0);
  rig.between.health = undefined;
  assert((await answerOf(page)).startsWith("Once upon a time"));
  await page.getByText("The model is loading").waitFor({ state: "detached" });
}

async function chat(rig: Rig) {
  const page = await rig.visit();
  await say(page, PROMPT);
  const answer = await answerOf(page);
  assert(answer.length > 200, answer);
  const figures = page.locator(".figures").last();
  assert(/\d+ tokens.*tokens\/s.*first after/s.test(await figures.innerText()));
  await say(page, "And then?");
  await answerOf(page);
  await figures.locator("summary").click();
  const words = await page.locator(".cache-words").last().innerText();
  assert(words.includes("That is all of the earlier turns; the rest is new."), words);
  const roles = rig.between.calls.at(-1)!.messages.map(({ role }) => role);
  assertEquals(roles, ["user", "assistant", "user"]);
}

async function stop(rig: Rig) {
  const page = await rig.visit();
  await say(page, PROMPT);
  const whole = await answerOf(page);
  rig.between.holdAfter = HELD_AFTER;
  await askAgain(page);
  const begun = await heldAnswer(page);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
  assert(whole.startsWith(begun) && begun.length < whole.length, begun);
  rig.between.release();
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("Stopped.").waitFor({ state: "detached" });
  assertEquals(await answerOf(page), whole);
  assertEquals(rig.between.calls.at(-1)!.continue_final_message, true);
}

async function branches(rig: Rig) {
  const page = await rig.visit();
  const bubble = page.locator(".bubble");
  await say(page, PROMPT);
  const first = await answerOf(page);
  await askAgain(page);
  await answerOf(page);
  await page.evaluate(editAtOnce);
  await someFrames(page);
  assertEquals(await page.evaluate(() => getSelection()!.toString()), PROMPT);
  await page.getByLabel("The message, edited").fill("Hello!");
  await page.getByRole("button", { name: "Ask again" }).click();
  await bubble.getByText("Hello!", { exact: true }).waitFor();
  const second = await answerOf(page);
  assert(second !== first);
  await page.locator(".message.user").getByLabel("Previous version").click();
  await bubble.getByText(PROMPT, { exact: true }).waitFor();
  assertEquals(await answerOf(page), first);
}

/** Opens the editor of a question and selects its text at once, as a program that types. */
async function editAtOnce(): Promise<void> {
  const isDrawn = new Promise<void>((resolve) =>
    new MutationObserver(() => resolve()).observe(document.body, { childList: true, subtree: true })
  );
  document.querySelector<HTMLElement>("[aria-label='Edit and ask again']")!.click();
  await isDrawn;
  document.querySelector<HTMLTextAreaElement>(".editor textarea")!.select();
}

async function reload(rig: Rig) {
  const page = await rig.visit();
  await say(page, PROMPT);
  const whole = await answerOf(page);
  rig.between.holdAfter = HELD_AFTER;
  await askAgain(page);
  const begun = await heldAnswer(page);
  // What is kept is what was shown.
  await page.evaluate(() => dispatchEvent(new Event("pagehide")));
  await page.waitForFunction(keptContains, begun);
  await page.reload();
  rig.between.release();
  assertEquals(await answerOf(page), whole);
  const { messages, continue_final_message } = rig.between.calls.at(-1)!;
  assertEquals([messages.at(-1)!.role, continue_final_message], ["assistant", true]);
  assert(messages.at(-1)!.content.startsWith(begun));
}

/** Whether the browser's store holds a message that begins so. */
function keptContains(text: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("quire");
    opening.onerror = reject;
    opening.onsuccess = () => {
      const reading = opening.result.transaction("conversations").objectStore("conversations")
        .getAll();
      reading.onsuccess = () => {
        opening.result.close();
        // deno-lint-ignore no-explicit-any -- what the page has stored
        const kept = reading.result as any[];
        resolve(kept.some(({ messages }) =>
          // deno-lint-ignore no-explicit-any -- what the page has stored
          messages.some(({ content, status }: any) =>
            status === "streaming" && content.startsWith(text)
          )
        ));
      };
    };
  });
}

/** Fills fields within a frame, by the beginnings of their labels, as a program that fills forms. */
function fillAtOnce(texts: Record<string, string>): void {
  for (const [words, text] of Object.entries(texts)) {
    const label = [...document.querySelectorAll(".settings label")]
      .find(({ textContent }) => textContent?.trim().startsWith(words))!;
    const field = label.querySelector<HTMLInputElement>("input, textarea")!;
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

async function structured(rig: Rig) {
  const page = await rig.visit();
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Answers are").selectOption("schema");
  await page.getByText("A schema is needed").waitFor();
  const schema = { type: "object", properties: { mood: { enum: ["good", "bad"] } } };
  await page.getByLabel("JSON schema").fill(JSON.stringify({ ...schema, required: ["mood"] }));
  await page.evaluate(fillAtOnce, { "System prompt": "Be short.", Temperature: "0.5" });
  await say(page, "How are you?");
  assert(["good", "bad"].includes(JSON.parse(await answerOf(page)).mood));
  const { messages, temperature } = rig.between.calls[0]!;
  assertEquals([messages[0]!.content, temperature], ["Be short.", 0.5]);
}

async function keeping(rig: Rig) {
  const page = await rig.visit();
  await say(page, "Hello!");
  await answerOf(page);
  await startNew(page);
  await say(page, "What is a lantern?");
  await answerOf(page);
  const entries = page.locator(".entry");
  assertEquals(await entries.count(), 2);
  const other = await page.context().newPage();
  await other.goto(rig.between.url);
  await other.locator(".entry").nth(1).waitFor();
  await say(other, "Good morning!");
  await answerOf(other);
  await entries.nth(2).waitFor();
  await page.getByLabel("Delete Good morning!").click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await other.locator(".entry").nth(2).waitFor({ state: "detached" });
  await other.close();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("HELLO!");
  await page.waitForFunction(() => document.querySelectorAll(".entry").length === 1);
  await page.getByLabel("Search conversations").fill("");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export" }).click(),
  ]);
  const file = await download.path();
  await page.locator("input[type=file]").setInputFiles(file);
  await page.getByText("2 conversations read.").waitFor();
  // The list follows the message.
  await entries.nth(3).waitFor();
  assertEquals(await entries.count(), 4);
  await page.locator("input[type=file]").setInputFiles({
    name: "x.json",
    mimeType: "application/json",
    buffer: Buffer.from("[]"),
  });
  await page.getByText("The file holds no conversations of this window").waitFor();
}

async function key(rig: Rig) {
  const page = await rig.visit();
  rig.between.key = "secret-key";
  await say(page, "Hello!");
  await page.getByLabel("API key").fill("secret-key");
  await page.keyboard.press("Enter");
  await answerOf(page);
  await page.getByText("quire-demo").waitFor();
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage }));
  assert(!kept.includes("secret-key"), kept);
}

/** What the chat does. */
export const CHAT: readonly Scenario[] = [
  ["the page is there while the model loads, and what is said then is asked later", whileStarting],
  ["an answer comes with its figures, and says why not more was cached", chat],
  ["a stopped answer goes on where it was", stop],
  ["answers and questions have versions", branches],
  ["a reload in the middle of an answer goes on with it", reload],
  ["settings are sent, and a schema holds", structured],
  ["conversations are searched, exported and imported", keeping],
  ["a key is asked for where the server wants one, and kept in the tab alone", key],
];
