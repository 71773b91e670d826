import { assertEquals } from "@std/assert";
import { DownloadProgress } from "../../src/hub/download_progress.ts";
import { ProgressDisplay } from "../../src/hub/progress_display.ts";
import { progressBars, progressLine } from "../../src/hub/progress_text.ts";

const MIB = 2 ** 20;

/** A progress whose clock is turned by hand. */
function rig() {
  let ms = 0;
  const progress = new DownloadProgress(() => ms);
  return { progress, wait: (more: number) => void (ms += more) };
}

Deno.test("the rate is that of the last ten seconds, and what was there has none", () => {
  const { progress, wait } = rig();
  progress.expect("a", 1000 * MIB);
  progress.advance("a", 500 * MIB, false);
  assertEquals([progress.state.rate, progress.state.secondsLeft], [undefined, undefined]);
  for (let second = 0; second < 20; second++) {
    progress.advance("a", MIB);
    wait(1000);
  }
  assertEquals(progress.state.total, { size: 1000 * MIB, done: 520 * MIB });
  assertEquals(Math.round(progress.state.rate! / MIB * 10) / 10, 0.9);
  for (let second = 0; second < 20; second++) {
    progress.advance("a", 10 * MIB);
    wait(1000);
  }
  assertEquals(Math.round(progress.state.rate! / MIB), 9);
  assertEquals(Math.round(progress.state.secondsLeft! / 10), Math.round(280 / 9.1 / 10));
});

Deno.test("a terminal gets a bar for each file on its way, and the total", () => {
  const { progress, wait } = rig();
  progress.expect("model-00001-of-00002.safetensors", 600 * MIB);
  progress.expect("model-00002-of-00002.safetensors", 400 * MIB);
  progress.expect("config.json", 100);
  progress.expect("later", 10 * MIB);
  progress.finish("config.json");
  progress.advance("model-00001-of-00002.safetensors", 0);
  wait(1000);
  progress.advance("model-00001-of-00002.safetensors", 150 * MIB);
  progress.advance("model-00002-of-00002.safetensors", 399.9999 * MIB);
  assertEquals(progressBars(progress.state, 100), [
    "model-00001-of-00002.safetensors  [########-------------------------]  25 %  150 MiB of 600 MiB",
    "model-00002-of-00002.safetensors  [################################-]  99 %  400 MiB of 400 MiB",
    "Total of 4                        [#################----------------]  54 %  550 MiB of 1010 MiB",
    "550 MiB/s, 1 s left",
  ]);
  const [narrow] = progressBars(progress.state, 60);
  assertEquals(narrow, "....safetensors  [##--------]  25 %  150 MiB of 600 MiB");
  for (const line of progressBars(progress.state, 40)) assertEquals(line.length < 40, true);
});

Deno.test("elsewhere a line says the same", () => {
  const { progress, wait } = rig();
  progress.expect("a", 3 * 2 ** 30);
  progress.advance("a", 0);
  assertEquals(progressLine(progress.state), "0 % of 3 GiB");
  wait(1000);
  progress.advance("a", 5);
  assertEquals(progressLine(progress.state), "0 % of 3 GiB, 5 B/s");
  wait(9000);
  progress.advance("a", 10 * MIB);
  assertEquals(progressLine(progress.state), "0 % of 3 GiB, 1 MiB/s, 51 min 2 s left");
});

Deno.test("more bytes than a file has do not count, and nothing goes back", () => {
  const { progress } = rig();
  progress.expect("a", 10);
  for (const count of [4, 4, 4]) progress.advance("a", count);
  progress.expect("a", 10);
  assertEquals(progress.state.total, { size: 10, done: 10 });
  progress.finish("a");
  assertEquals(progress.state.total, { size: 10, done: 10 });
});

Deno.test("bars are written over the ones before; notes stay above them", () => {
  const { progress } = rig();
  let text = "";
  const output = {
    isTerminal: true,
    width: () => 80,
    write: (more: string) => void (text += more),
  };
  const display = new ProgressDisplay(progress, output);
  display.draw();
  assertEquals(text, "");
  progress.expect("a", 10);
  progress.advance("a", 5);
  display.draw();
  const bars = progressBars(progress.state, 80).map((line) => `${line}\n`).join("");
  assertEquals(text, bars);
  text = "";
  display.draw();
  assertEquals(text, `\x1b[2F\x1b[J${bars}`);
  text = "";
  display.note("A note");
  display.draw();
  display.stop();
  assertEquals(text, `\x1b[2F\x1b[JA note\n${bars}\x1b[2F\x1b[J`);
});

Deno.test("without a terminal there are no control sequences", () => {
  const { progress } = rig();
  let text = "";
  const output = {
    isTerminal: false,
    width: () => 80,
    write: (more: string) => void (text += more),
  };
  const display = new ProgressDisplay(progress, output);
  progress.expect("a", 10);
  display.draw();
  display.note("A note");
  display.stop();
  assertEquals(text, "0 % of 10 B\nA note\n");
});
