import { assert, assertEquals, assertMatch } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import {
  OVERFLOWING_TOKEN,
  writeEditedDemo,
  writeOverflowingModel,
} from "../support/overflowing_model.ts";
import { runMain, ServerProcess } from "../support/server_process.ts";

const [FIRST, SECOND] = goldenPrompts();

/** Numbers as JSON spells them: edges of f32 and f64, and neighbours of 0 and 1 in both. */
const REALS = [
  ...["0", "-0", "1", "-1", "2", "5e-324", "-5e-324", "2.2250738585072014e-308", "1e-400"],
  ...["1.401298464324817e-45", "7e-46", "1e-40", "-1e-40", "1.1754943508222875e-38", "1e-38"],
  ...["1.1920928955078125e-7", "1e-6", "9.99e-6", "1e-5", "0.01", "100"],
  ...["0.99999999", "0.9999999999999999", "0.9999999403953552", "1.0000000000000002"],
  ...["1.0000001192092896", "1.9999999999999998", "2.0000000000000004"],
  ...["3.4028234663852886e38", "3.5e38", "-3.5e38", "1.7976931348623157e308", "1e400", "-1e400"],
];
const INTEGERS = [
  ...["0", "-0", "1", "-1", "2", "20", "21", "64", "100", "2047", "2048", "2147483647"],
  ...["2147483648", "4294967295", "4294967296", "9007199254740991", "-9007199254740991"],
  ...["9007199254740992", "1e300", "5e-324", "0.9999999999999999", "1e400"],
];

/** Where a number goes, by the rest of the request's JSON. */
const REAL_FIELDS: Readonly<Record<string, (value: string) => string>> = {
  temperature: (value) => `"temperature": ${value}`,
  "temperature, nucleus": (value) => `"temperature": ${value}, "top_p": 0.9`,
  "temperature, filters": (value) =>
    `"temperature": ${value}, "top_k": 5, "min_p": 0.01, "logprobs": 3`,
  "temperature, penalties": (value) =>
    `"temperature": ${value}, "repetition_penalty": 1.5, "logit_bias": {"7": 100, "9": -100}`,
  top_p: (value) => `"top_p": ${value}`,
  "top_p, cold": (value) => `"top_p": ${value}, "temperature": 1e-5`,
  min_p: (value) => `"min_p": ${value}`,
  "min_p, cold": (value) => `"min_p": ${value}, "temperature": 1e-5, "top_p": 0.5`,
  both: (value) => `"min_p": ${value}, "top_p": ${value}, "top_k": 2147483647`,
  frequency_penalty: (value) => `"frequency_penalty": ${value}`,
  presence_penalty: (value) => `"presence_penalty": ${value}, "temperature": 1e-40`,
  repetition_penalty: (value) => `"repetition_penalty": ${value}`,
  repeat_penalty: (value) => `"repeat_penalty": ${value}, "temperature": 0`,
  logit_bias: (value) => `"logit_bias": {"5": ${value}, "6": ${value}}`,
  length_penalty: (value) => `"length_penalty": ${value}, "use_beam_search": true, "n": 3`,
};
const INTEGER_FIELDS: Readonly<Record<string, (value: string) => string>> = {
  top_k: (value) => `"top_k": ${value}`,
  seed: (value) => `"seed": ${value}`,
  n: (value) => `"n": ${value}`,
  "n, beams": (value) => `"n": ${value}, "use_beam_search": true`,
  logprobs: (value) => `"logprobs": ${value}, "temperature": 1e-40`,
  max_tokens: (value) => `"max_tokens": ${value}, "logit_bias": {"2": 100}`,
  min_tokens: (value) => `"min_tokens": ${value}`,
  stop_token_ids: (value) => `"stop_token_ids": [${value}], "min_tokens": 2`,
  allowed_token_ids: (value) => `"allowed_token_ids": [${value}]`,
  "cache_retention.priority": (value) => `"cache_retention": {"priority": ${value}}`,
  "cache_retention.duration_ms": (value) =>
    `"cache_retention": {"priority": 1, "duration_ms": ${value}}`,
};
/** Values that each of these takes, so that what is refused is not all there is. */
const TAKEN: Readonly<Record<string, readonly string[]>> = {
  temperature: ["5e-324", "1e-40", "1.401298464324817e-45", "1e-5", "1.9999999999999998", "-0"],
  top_p: ["5e-324", "1e-40", "0.9999999999999999", "0.99999999", "1"],
  min_p: ["5e-324", "1e-40", "0.9999999999999999", "0.99999999", "1"],
  repetition_penalty: ["0.01", "100", "1.0000000000000002"],
  logit_bias: ["5e-324", "100", "-1e-40"],
  length_penalty: ["5e-324", "-1", "1e-40"],
  top_k: ["2147483647", "-1", "0"],
  seed: ["9007199254740991", "-9007199254740991"],
  max_tokens: ["1", "20", "100"],
};

async function send(
  server: ServerProcess,
  fields: string,
): Promise<{ status: number; text: string }> {
  const prompt = `"prompt": [${FIRST!.prompt_ids.slice(0, 4)}]`;
  const base = `${prompt}, "max_tokens": 3, "temperature": 0.8, "seed": 5`;
  const response = await server.fetch("/v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    // The last of two fields of one name counts.
    body: `{${base}, ${fields}}`,
  });
  return { status: response.status, text: await response.text() };
}

async function checkEdges(args: readonly string[]): Promise<void> {
  const server = await ServerProcess.start(args);
  try {
    const cases = [
      ...Object.entries(REAL_FIELDS).map(([name, field]) => ({ name, field, values: REALS })),
      ...Object.entries(INTEGER_FIELDS).map(([name, field]) => ({ name, field, values: INTEGERS })),
    ];
    for (const { name, field, values } of cases) {
      const answers = await Promise.all(values.map((value) => send(server, field(value))));
      answers.forEach(({ status, text }, i) => {
        const label = `${name}: ${values[i]} answers ${status} ${text.slice(0, 300)}`;
        assert(status === 200 || status === 400, label);
        if (TAKEN[name]?.includes(values[i]!)) assertEquals(status, 200, label);
      });
    }
    assertEquals((await server.fetch("/health")).status, 200);
    assert(!/engine (failed|ended|restart)/i.test(server.output), server.output);
    const golden = await server.post("/v1/completions", {
      ...{ prompt: FIRST!.prompt_ids, max_tokens: 20, temperature: 1e-40, top_p: 1e-40 },
      ...{ ignore_eos: true, return_token_ids: true },
    });
    assertEquals((await golden.json()).choices[0].token_ids, FIRST!.greedy_ids.slice(0, 20));
    await server.idle();
    assertEquals((await server.fetch("/admin/kv/check")).status, 200);
  } finally {
    await server.stop();
  }
}

async function inTempDir(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "quire-edges-" });
  try {
    await run(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function e2e(name: string, run: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn: run });
}

e2e("no number of a request ends the engine", () => checkEdges([]));
e2e(
  "no number of a request ends the engine, on the reference device",
  () => checkEdges(["--device", "cpu"]),
);

e2e("a client that sends an overflowing prompt again and again fails alone", async () => {
  await inTempDir(async (dir) => {
    writeOverflowingModel(dir, 2);
    const server = await ServerProcess.start(["--model", dir]);
    try {
      const { prompt_ids } = SECOND!;
      const ask = (prompt: readonly number[], fields = {}) =>
        server.post("/v1/completions", { prompt, max_tokens: 8, temperature: 0, ...fields });
      const alone = (await (await ask(prompt_ids)).json()).choices[0].text;
      const bad = [...prompt_ids.slice(0, 10), OVERFLOWING_TOKEN, ...prompt_ids.slice(10)];
      for (let i = 0; i < 20; i++) {
        const stream = i % 2 === 1;
        const [good, refused] = await Promise.all([ask(prompt_ids), ask(bad, { stream })]);
        assertEquals((await good.json()).choices[0].text, alone);
        assertEquals(refused.status, stream ? 200 : 500);
        const text = await refused.text();
        assertMatch(text, /"code":"nonfinite_logits"/);
        assertMatch(text, /layer 2 at position 10 .* --kv-cache-dtype f32/);
      }
      await server.idle();
      assertEquals((await server.fetch("/admin/kv/check")).status, 200);
      assertEquals((await server.fetch("/health")).status, 200);
      assert(!/ at .*\.ts:\d/.test(server.output), "a stack is in the log");
    } finally {
      await server.stop();
    }
  });
});

e2e("a start ends at a weight that is no number, by its name", async () => {
  await inTempDir(async (dir) => {
    const name = "model.layers.3.mlp.up_proj.weight";
    writeEditedDemo(dir, (tensor) => tensor === name ? (bits) => bits[777] = 0x7e00 : undefined);
    for (const device of ["cpu", "auto"]) {
      for (const more of [[], ["--quantization", "int8"]]) {
        const args = ["serve", "--port", "0", "--model", dir, "--device", device, ...more];
        const { code, stderr, stdout } = await runMain(args);
        assertEquals(code, 1, stdout);
        assertMatch(
          stderr,
          /model\.safetensors: tensor "model\.layers\.3\.mlp\.up_proj\.weight" has NaN at index 777 /,
        );
      }
    }
  });
});
