import { answerOf, Rig, say, startNew } from "./rig.ts";

/** Makes the picture of the README: `screenshot.ts URL CHROMIUM FILE`, with the server at a URL. */
const [url, chromium, file] = Deno.args;
const rig = await Rig.open(url!, chromium!);
const page = await rig.visit({ width: 1200, height: 740 });
for (const text of ["Hello!", "Count from 3 to 12.", "What is a lantern?"]) {
  await say(page, text);
  await answerOf(page);
  await startNew(page);
}
await say(page, "Tell me a story about a fox and a lantern.");
await answerOf(page);
await say(page, "Tell me a story about a small boat on a big lake.");
await answerOf(page);
await page.locator(".cache summary").last().click();
await page.locator(".thread").evaluate((element) => element.scrollTo(0, element.scrollHeight));
await page.screenshot({ path: file! });
await rig.close();
Deno.exit(0);
