import { assertEquals, assertStringIncludes } from "@std/assert";

async function golden(...args: string[]) {
  const script = new URL("remake_golden.ts", import.meta.url).pathname;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

async function hasPython(): Promise<boolean> {
  try {
    return (await new Deno.Command("python3", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}

const isPython = await hasPython();

Deno.test("golden names the files there are when asked for another", async () => {
  const { code, stderr } = await golden("qwen4_golden");
  assertEquals(code, 1);
  assertStringIncludes(stderr, "No golden file qwen4_golden: qwen3_golden");
});

Deno.test({
  name: `golden finds that the demo model's cases are what their script makes${
    isPython ? "" : " (skipped: python3 is absent)"
  }`,
  ignore: !isPython,
  async fn() {
    assertEquals(await golden("--check", "demo_eval"), {
      code: 0,
      stdout: "demo_eval: the same\n",
      stderr: "",
    });
  },
});
