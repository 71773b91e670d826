import { Rig } from "./rig.ts";

/**
 * Makes a picture of the machine room at work: `machine_screenshot.ts URL CHROMIUM FILE [light|dark]`,
 * with the server at a URL; a pool of some hundred blocks shows most.
 */
const [url, chromium, file, colorScheme = "light"] = Deno.args;
const rig = await Rig.open(url!, chromium!);

const BEGINNINGS = [
  "Once upon a time there was a fox who lived in a small house near the forest, and every morning she went to the river to drink and to talk with her friend the frog. ",
  "Tom had a red ball that he loved very much. He took it to the park with his mom on sunny days and played until the sun went down. ",
  "In a big castle lived a king who had a magic lantern. It could tell him stories about the sea and the stars. ",
];
const TURNS = ["One day she found a key. ", "It was raining and everyone was sad. ", ""];

let isOver = false;
async function keepAsking(client: number): Promise<void> {
  for (let turn = client; !isOver; turn++) {
    const prompt = BEGINNINGS[turn % 3]! + TURNS[(turn >> 1) % 3]! +
      `Child ${client} came to see. `.repeat(1 + turn % 4);
    const response = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt, max_tokens: 30 + 17 * turn % 70, temperature: 1 }),
    });
    await response.text();
  }
}

const clients = Array.from({ length: 24 }, (_, client) => keepAsking(client));
const page = await rig.visit({
  ...{ width: 1280, height: 1180, colorScheme: colorScheme as "light" | "dark", hash: "#machine" },
});
await page.waitForTimeout(20_000);
await page.locator(".request-head").nth(1).click();
await page.locator(".map").hover({ position: { x: 150, y: 60 } });
await page.waitForTimeout(400);
await page.screenshot({ path: file! });
await page.locator(".run").nth(2).click();
await page.locator("#machine-panel").evaluate((it) => it.scrollTo(0, 980));
await page.waitForTimeout(600);
await page.screenshot({ path: file!.replace(".png", "-2.png") });
isOver = true;
await Promise.all(clients);
await rig.close();
Deno.exit(0);
