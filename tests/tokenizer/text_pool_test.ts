import { assert, assertEquals, assertRejects } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import { runTextTask, type TextOutcome, type TextTask } from "../../src/tokenizer/text_tasks.ts";
import { TextPool, type TextPoolOptions } from "../../src/tokenizer/text_pool.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import type { HostedWorker, ToWorker } from "../../src/tokenizer/worker_messages.ts";
import { SHORT_TASK_CHARS } from "../../src/tokenizer/worker_lanes.ts";
import { DEMO_DIR } from "./shared_data.ts";

const tokenizer = loadTokenizer(DEMO_DIR);

async function withPool(
  options: TextPoolOptions,
  body: (pool: TextPool) => Promise<void>,
): Promise<void> {
  const pool = new TextPool(DEMO_DIR, tokenizer, options);
  try {
    await body(pool);
  } finally {
    pool.close();
  }
}

function fill(unit: string, numChars: number): string {
  return unit.repeat(Math.ceil(numChars / unit.length)).slice(0, numChars);
}

/** Resolves after `count` turns of the event loop, in each of which others are answered. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** In what order things ended. */
async function orderOf(things: Readonly<Record<string, Promise<unknown>>>): Promise<string[]> {
  const order: string[] = [];
  const entries = Object.entries(things);
  await Promise.all(entries.map(([name, thing]) => thing.then(() => order.push(name))));
  return order;
}

for (
  const [unit, numChars] of [["the", 2 ** 22], ["1234567890", 2 ** 20], ["ab", 2 ** 20]] as const
) {
  Deno.test(`TextPool leaves the isolate free while it tokenizes ${numChars} characters of ${unit}`, async () => {
    await withPool({ tokenizeDeadlineMs: 600_000 }, async (pool) => {
      const text = fill(unit, numChars);
      const long = pool.encode([text]);
      const short = pool.encode([fill("a b ", SHORT_TASK_CHARS)]);
      const inline = pool.encode(["Hi"]);
      assertEquals(await orderOf({ long, turns: turns(20), short, inline }), [
        "inline",
        "turns",
        "short",
        "long",
      ]);
      const [ids] = await long;
      assert(ids!.length >= text.length / tokenizer.maxCharsPerToken);
    });
  });
}

Deno.test("TextPool leaves the isolate free for 1,024 prompts and for a million ids", async () => {
  await withPool({ tokenizeDeadlineMs: 600_000 }, async (pool) => {
    const prompts = Array.from({ length: 1024 }, (_, i) => fill(`Prompt ${i} says so. `, 6000));
    const encoded = pool.encode(prompts);
    assertEquals(await orderOf({ encoded, turns: turns(20) }), ["turns", "encoded"]);
    const batch = await encoded;
    assertEquals(batch.length, 1024);
    assertEquals([...batch[7]!], [...tokenizer.encode(prompts[7]!)]);
    const decoded = pool.decode([...batch.slice(0, 3), new Uint32Array(2 ** 20).fill(721)]);
    assertEquals(await orderOf({ decoded, turns: turns(20) }), ["turns", "decoded"]);
    const texts = await decoded;
    assertEquals(texts.slice(0, 3), prompts.slice(0, 3));
    assertEquals(texts[3], "Once".repeat(2 ** 20));
  });
});

Deno.test("TextPool has a turn for others between the texts of many small requests", async () => {
  await withPool({}, async (pool) => {
    const texts = Array.from({ length: 50 }, () => fill("abc", 4000));
    const encoded = Promise.all(texts.map((text) => pool.encode([text])));
    assertEquals(await orderOf({ encoded, turns: turns(5) }), ["turns", "encoded"]);
  });
});

Deno.test("TextPool gives the same here and in a Worker", async () => {
  const texts = ["Once <|im_end|> upon", "", "語🦙 a  b"];
  const options = { addSpecialTokens: false, parseSpecial: false };
  for (const maxInline of [4096, 0]) {
    await withPool({ maxInline }, async (pool) => {
      const batch = await pool.encode(texts, options);
      assertEquals(
        batch.map((ids) => [...ids]),
        texts.map((text) => [...tokenizer.encode(text, options)]),
      );
      assertEquals(await pool.decode(batch), texts);
      assertEquals([await pool.encode([]), await pool.decode([])], [[], []]);
    });
  }
});

Deno.test("TextPool refuses what is too long or takes too long, with the numbers", async () => {
  await withPool({ maxTextChars: 10 }, async (pool) => {
    const long = await assertRejects(() => pool.encode(["123456", "12345"]), RequestError);
    assertEquals(long.data, {
      status: 400,
      type: "invalid_request_error",
      code: "text_too_long",
      message: "The texts of a request may have at most 10 characters together, got 11",
      param: null,
      details: { n_chars: 11, max_chars: 10 },
    });
    const made = await assertRejects(() => pool.decode([[721, 721], [721]]), RequestError);
    assertEquals(made.message, "Detokenizing 3 tokens makes a text of over 10 characters");
    assertEquals(await pool.decode([[721], [721]]), ["Once", "Once"]);
  });
  await withPool({ tokenizeDeadlineMs: 0 }, async (pool) => {
    const text = fill("ab", 2 ** 20);
    const late = await assertRejects(() => pool.encode([text]), RequestError);
    assertEquals(late.message, "Tokenizing 1048576 characters takes longer than 0 ms");
    assertEquals([late.data.status, late.data.code], [400, "text_limit"]);
  });
});

Deno.test("runTextTask() stops at the deadline, between two spans and between two texts", () => {
  const limits = { deadlineMs: 30, maxChars: 1e9 };
  const run = (task: TextTask) => {
    let ms = 0;
    return [runTextTask(tokenizer, task, () => ms += 10), ms];
  };
  const late: TextOutcome = { type: "limit", message: "takes longer than 30 ms" };
  const options = {};
  const texts = [fill("the", 2 ** 18)];
  assertEquals(run({ type: "encode", texts, options, limits }), [late, 50]);
  const many = Array<string>(100).fill("a");
  assertEquals(run({ type: "encode", texts: many, options, limits }), [late, 50]);
  const batch = [new Uint32Array(2 ** 18)];
  assertEquals(run({ type: "decode", batch, limits }), [late, 50]);
});

/** A Worker that answers by a script: nothing at all, or an end. */
class FakeWorker implements HostedWorker<string, TextTask, TextOutcome> {
  onmessage: HostedWorker<string, TextTask, TextOutcome>["onmessage"] = null;
  onerror: HostedWorker<string, TextTask, TextOutcome>["onerror"] = null;

  constructor(readonly dies: () => boolean) {}

  postMessage(message: ToWorker<string, TextTask>): void {
    queueMicrotask(() => {
      if (message.type === "load") {
        this.onmessage?.(new MessageEvent("message", { data: { type: "loaded" } }));
      } else if (this.dies()) {
        this.onerror?.(new ErrorEvent("error", { message: "out of memory", cancelable: true }));
      }
    });
  }

  terminate(): void {}
}

Deno.test("TextPool tells those whose Worker ended, those who wait too many, and those it closes on", async () => {
  let dies = true;
  const options = { maxInline: 0, spawnTokenizer: () => new FakeWorker(() => dies) };
  await withPool(options, async (pool) => {
    const ended = await assertRejects(() => pool.encode(["abc"]), EngineUnavailableError);
    assertEquals(
      ended.message,
      "Tokenizing 3 characters failed, please try again: out of memory",
    );
    dies = false;
    const waiting = Array.from({ length: 1026 }, () => pool.encode(["abc"]));
    const refused = await assertRejects(() => waiting.at(-1)!, RequestError);
    assertEquals([refused.data.status, refused.data.code], [429, "overloaded"]);
    pool.close();
    const rest = await Promise.allSettled(waiting.slice(0, 1025));
    assert(rest.every(({ status }) => status === "rejected"));
    await assertRejects(() => pool.encode(["abc"]), EngineUnavailableError, "stopping");
  });
});
