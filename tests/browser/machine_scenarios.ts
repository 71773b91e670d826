import { assert, assertEquals } from "@std/assert";
import type { Locator, Page, Route } from "playwright-core";
import { faintTexts, MIN_CONTRAST } from "./look_scenarios.ts";
import { assertFits, type Rig, type Scenario } from "./rig.ts";
import { emptyMap, encodeChanges } from "../../src/http/machine/block_changes.ts";

const NUM_REQUESTS = 32;
/** More than anyone waits for: no request ends before the room has shown it. */
const NUM_TOKENS = 1900;

/** An answer to one of many requests. */
interface Answer {
  readonly id: string;
  readonly choices: readonly { readonly finish_reason: string }[];
}

/** Asks for a completion that takes a while. */
async function ask(
  rig: Rig,
  i: number,
  numTokens: number,
  signal: AbortSignal | null = null,
): Promise<Answer> {
  const response = await fetch(`${rig.between.url}v1/completions`, {
    method: "POST",
    signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      prompt: `Once upon a time there was a fox who lived in a small house. Child ${i} came to see`,
      ...{ max_tokens: numTokens, temperature: 0, ignore_eos: true },
    }),
  });
  return await response.json();
}

/** The row of a request, wherever it stands. */
function rowOf(page: Page, id: string | null) {
  return page.locator(`.request:has(.request-name[title="${id}"])`);
}

async function underLoad(rig: Rig) {
  // What the requests have in common is then all that the tree holds.
  const reset = await fetch(`${rig.between.url}reset_prefix_cache?preempt=true`, {
    method: "POST",
  });
  assert(reset.ok, await reset.text());
  const page = await rig.visit({ hash: "#machine" });
  await page.locator(".room.live").waitFor();
  const leave = new AbortController();
  const answers = Array.from(
    { length: NUM_REQUESTS },
    (_, i) => ask(rig, i, NUM_TOKENS, leave.signal),
  );
  const first = Promise.race(answers);
  // The others leave at the end.
  answers.forEach((answer) => answer.catch(() => {}));
  await page.locator(".request:is(.running, .waiting)").nth(NUM_REQUESTS - 1).waitFor();
  // The map shows them, and what they share.
  const legend = await page.locator(".legend").innerText();
  assert(/in use\s*[1-9]/.test(legend), legend);
  await page.locator(".map").hover({ position: { x: 8, y: 8 } });
  const tip = await page.locator(".tip").innerText();
  assert(/^Block 0: /.test(tip), tip);
  // One is aborted by hand, and its client gets what there is.
  const name = page.locator(".request.running .request-name").first();
  const row = rowOf(page, await name.getAttribute("title"));
  await row.locator(".request-head").click();
  await row.getByText("is admitted with").waitFor();
  await row.getByRole("button", { name: "Abort", exact: true }).click();
  await row.getByRole("button", { name: "Abort for its client?" }).click();
  assertEquals((await first).choices[0]!.finish_reason, "abort");
  leave.abort();
  await page.locator(".request.running").first().waitFor({ state: "detached" });
  // What they had in common is one run of the tree, whose text this visitor may read.
  await findRun(page, "there was a fox");
  await page.getByLabel("Filter decisions by request or word").fill("is admitted");
  assert(await page.locator(".log li").count() > 8);
  await page.getByLabel("Kind of decision").selectOption({ label: "evictions" });
  await page.getByText("No decision fits.").waitFor();
  assertEquals(rig.complaints, []);
}

/**
 * Chooses runs at the top of the tree, as it comes, until one has this text. A run may go between
 * two looks, since the tree changes until the engine has come to rest: nothing waits long for one.
 */
async function findRun(page: Page, text: string): Promise<void> {
  const runs = page.locator(".run[aria-level='1']");
  const told = page.locator(".run-text");
  await runs.first().waitFor();
  for (let round = 0; round < 40; round++) {
    for (let at = 0; await clickNth(runs, at); at++) {
      await told.filter({ hasText: /\w/ }).waitFor({ timeout: 2_000 }).catch(() => {});
      if ((await told.allInnerTexts()).some((words) => words.includes(text))) return;
    }
    await page.waitForTimeout(250);
  }
  assert(false, `no run has ${text}`);
}

/** Clicks the one at this place, and tells whether there was one. */
function clickNth(buttons: Locator, at: number): Promise<boolean> {
  return buttons.evaluateAll((all, at) => {
    (all[at] as HTMLElement | undefined)?.click();
    return at < all.length;
  }, at);
}

/** What the engine would send of a pool at work: a greeting and a frame. */
function messagesOf(numBlocks: number): readonly object[] {
  const map = emptyMap(numBlocks);
  map.holders.fill(1, 0, numBlocks / 2);
  map.states.fill(1, numBlocks / 4, (3 * numBlocks) / 4);
  for (let block = 0; block < numBlocks / 2; block++) map.firstHolders[block] = block >> 8;
  let changes = "";
  for (const byte of encodeChanges(emptyMap(numBlocks), map)) changes += String.fromCharCode(byte);
  const [numFreeBlocks, numCachedBlocks] = [numBlocks / 4, numBlocks / 4];
  const frame = {
    ...{ type: "frame", frame: 0, is_whole: true, time_ms: Date.now(), step: 9, block_size: 16 },
    groups: ["full"],
    blocks: { count: numBlocks, changes: btoa(changes) },
    stats: { numBlocks, numFreeBlocks, numCachedBlocks, numRunning: 0, numWaiting: 0 },
    ...{ restarts: 0, sequences: [], hidden_sequences: 0, steps: [], chunks: [], decisions: [] },
  };
  return [{ type: "hello", scope: "", history: [] }, frame];
}

/** How many pixels of the map have each colour. */
function coloursOfMap(): Record<string, number> {
  const map = document.querySelector<HTMLCanvasElement>(".map")!;
  const { data } = map.getContext("2d")!.getImageData(0, 0, map.width, map.height);
  const counts: Record<string, number> = {};
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] === 0) continue;
    const colour = data.slice(at, at + 3).join(" ");
    counts[colour] = (counts[colour] ?? 0) + 1;
  }
  return counts;
}

async function largePool(rig: Rig) {
  const page = await rig.visit();
  rig.between.machine = messagesOf(100_000);
  await page.getByRole("tab", { name: "Machine room" }).click();
  await page.getByText("100,000 blocks of 16 tokens").waitFor();
  await page.waitForFunction(() => document.querySelector<HTMLCanvasElement>(".map")!.width > 300);
  const counts = Object.values(await page.evaluate(coloursOfMap)).sort((a, b) => b - a);
  // Free, in use and cached: a quarter, a half and a quarter, each block of the same size.
  const cell = counts.reduce((sum, count) => sum + count, 0) / 100_000;
  assert(Number.isInteger(Math.sqrt(cell)) && cell >= 4, `cells of ${cell} pixels`);
  assertEquals(counts, [50_000 * cell, 25_000 * cell, 25_000 * cell]);
}

async function byKeys(rig: Rig) {
  const page = await rig.visit({ hash: "#machine" });
  await page.locator(".room.live").waitFor();
  await page.getByRole("tab", { name: "Machine room" }).focus();
  const map = page.locator(".map");
  for (let i = 0; i < 12 && !await map.evaluate((it) => it === document.activeElement); i++) {
    await page.keyboard.press("Tab");
  }
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"]) {
    await page.keyboard.press(key);
  }
  await page.locator("[aria-live]", { hasText: "Block 1: " }).first().waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".tip").waitFor({ state: "detached" });
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>(
      ".room :is(button, input, select, canvas[tabindex])",
    )]
      .filter((each) => {
        const { id, title, textContent } = each;
        const label = each.getAttribute("aria-label") ?? title ?? "";
        const hasLabel = id !== "" && document.querySelector(`label[for="${id}"]`) !== null;
        return label + (textContent ?? "").trim() === "" && !hasLabel &&
          each.closest("label") === null;
      }).map((each) => each.outerHTML)
  );
  assertEquals(nameless, []);
}

async function inBothThemes(rig: Rig) {
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await rig.visit({ colorScheme, hash: "#machine" });
    await page.locator(".room.live").waitFor();
    const { id } = await ask(rig, 50, 4);
    const row = rowOf(page, id);
    await row.locator(".request-head").click();
    await row.getByText("is admitted with").waitFor();
    await page.locator(".run").first().click();
    assertEquals(await page.evaluate(faintTexts, MIN_CONTRAST), [], colorScheme);
  }
}

/** Where the cards of the room are. */
function places(page: Page): Promise<number[]> {
  return page.locator(".room > *").evaluateAll((cards) =>
    cards.map((card) => Math.round(card.getBoundingClientRect().top))
  );
}

async function onSmallScreens(rig: Rig) {
  const page = await rig.visit({ width: 360, height: 740, colorScheme: "dark", hash: "#machine" });
  const first = places(page);
  await page.locator(".room.live").waitFor();
  await assertFits(page, "the machine room");
  const before = await first;
  await ask(rig, 99, 8);
  await page.locator(".request.ended").first().waitFor();
  await assertFits(page, "the machine room with requests");
  // Nothing has moved for what came.
  assertEquals(await places(page), before);
}

/** What the server sends of an engine that was lost. */
function lossOf(seconds: number, outage: object): object {
  return {
    ...{ type: "away", frame: 1, time_ms: Date.now(), state: "restarting" },
    reason: "The GPU device was lost: an injected fault",
    outage: { seconds, failures_in_a_row: 1, requests_kept: 3, ...outage },
  };
}

async function outage(rig: Rig) {
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await rig.visit({ width: 360, height: 740, colorScheme });
    const loss = lossOf(2.4, { failures_in_a_row: 2, failures_allowed: 5, next_try_in_seconds: 4 });
    rig.between.machine = [...messagesOf(64), loss];
    await page.getByRole("tab", { name: "Machine room" }).click();
    const notice = page.getByRole("region", { name: "The engine was lost" });
    await notice.getByText("The GPU device was lost: an injected fault").waitFor();
    await notice.getByText("It was lost 2.0 s ago. Another is started in 4.0 s.").waitFor();
    await notice.getByText("3 requests go on with the next engine.").waitFor();
    await notice.getByText("2 engines have failed in a row, and 5 are too many.").waitFor();
    await assertFits(page, "an outage");
    assertEquals(await page.evaluate(faintTexts, MIN_CONTRAST), [], colorScheme);
    // Nothing can be operated meanwhile, and what was seen before stays in sight.
    assert(await page.getByRole("button", { name: "Resize" }).isDisabled());
    await page.getByText("64 blocks of 16 tokens").waitFor();
    // The server's own stream follows: its engine is there.
    rig.between.machine = undefined;
    rig.between.release();
    await page.locator(".room.live").waitFor();
    assertEquals(await notice.count(), 0);
    assert(!await page.getByRole("button", { name: "Resize" }).isDisabled());
  }
}

async function stall(rig: Rig) {
  const page = await rig.visit({ width: 360, height: 740 });
  rig.between.machine = [...messagesOf(64), {
    ...{ type: "away", frame: 1, time_ms: Date.now(), state: "ready" },
    ...{ reason: "step 7 has been with the device", stalled_seconds: 31.5 },
  }];
  await page.getByRole("tab", { name: "Machine room" }).click();
  const notice = page.getByRole("region", { name: "The engine does not get on" });
  await notice.getByText("step 7 has been with the device").waitFor();
  await notice.getByText("It last got on 31 s ago.").waitFor();
  await assertFits(page, "an engine that does not get on");
  rig.between.machine = undefined;
  rig.between.release();
  await page.locator(".room.live").waitFor();
  assertEquals(await notice.count(), 0);
}

async function behindAKey(rig: Rig) {
  const page = await rig.visit();
  const keys: (string | undefined)[] = [];
  await page.route("**/admin/machine", async (route: Route) => {
    const key = route.request().headers().authorization;
    keys.push(key);
    if (key === "Bearer the-admin-key") return await route.continue();
    const error = { message: "This needs the server's admin key", code: "admin_key_required" };
    await route.fulfill({ status: 403, json: { error } });
  });
  await page.getByRole("tab", { name: "Machine room" }).click();
  await page.getByText("This needs the server's admin key").waitFor();
  await page.getByLabel("Admin key").fill("the-admin-key");
  await page.keyboard.press("Enter");
  await page.locator(".room.live").waitFor();
  assertEquals(keys, [undefined, "Bearer the-admin-key"]);
}

export const MACHINE: readonly Scenario[] = [
  ["the machine room follows 32 requests, and ends one", underLoad],
  ["the machine room shows a pool of 100,000 blocks, each of them", largePool],
  ["the machine room works without a pointer", byKeys],
  ["the machine room is readable in both themes", inBothThemes],
  ["the machine room fits a screen of 360 pixels, and nothing moves", onSmallScreens],
  ["the machine room shows an outage, until there is an engine again", outage],
  ["the machine room shows an engine that does not get on", stall],
  ["the machine room asks for the admin key", behindAKey],
];
