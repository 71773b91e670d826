// deno-lint-ignore-file no-console -- why tests are skipped is printed
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { COMMAND_FLAGS } from "../../src/commands/command_flags.ts";
import { completionsCommand, SHELLS } from "../../src/commands/completions.ts";
import { COMMANDS } from "../../src/core/command_names.ts";
import { StartupError } from "../../src/core/errors.ts";

async function has(shell: string): Promise<boolean> {
  try {
    return (await new Deno.Command(shell, { args: ["-c", "exit 0"] }).output()).success;
  } catch {
    console.warn(`the completions of ${shell} are not run: it is not installed`);
    return false;
  }
}

const installed = new Map(
  await Promise.all(SHELLS.map(async (shell) => [shell, await has(shell)] as const)),
);

Deno.test("completionsCommand() knows every command and every flag, for every shell", () => {
  for (const shell of SHELLS) {
    const script = completionsCommand([shell]);
    for (const { name } of COMMANDS) {
      assertStringIncludes(script, name);
      for (const flag of COMMAND_FLAGS[name]) assertStringIncludes(script, flag.name);
    }
  }
});

Deno.test("completionsCommand() refuses another shell", () => {
  for (const args of [[], ["tcsh"], ["bash", "zsh"]]) {
    const { message } = assertThrows(() => completionsCommand(args), StartupError);
    assertStringIncludes(message, "bash, zsh, fish");
  }
});

for (const shell of SHELLS) {
  Deno.test({
    name: `${shell} understands its script`,
    ignore: !installed.get(shell),
    async fn() {
      const file = await Deno.makeTempFile();
      await Deno.writeTextFile(file, completionsCommand([shell]));
      const { code, stderr } = await new Deno.Command(shell, { args: ["-n", file] }).output();
      assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
      await Deno.remove(file);
    },
  });
}

Deno.test({
  name: "bash completes commands, flags, their values and topics",
  ignore: !installed.get("bash"),
  async fn() {
    const lines: [string, string[]][] = [
      ["quire do", ["doctor"]],
      ["quire serve --kv-cache-dt", ["--kv-cache-dtype"]],
      ["quire serve --device ", ["auto", "webgpu", "cpu"]],
      ["quire help kv", ["kv-cache"]],
      ["quire completions ", ["bash", "zsh", "fish"]],
    ];
    const asks = lines.map(([line]) => {
      const words = line.split(" ");
      return `COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); ` +
        `COMP_CWORD=${words.length - 1}; _quire; echo "\${COMPREPLY[*]}"`;
    });
    const script = `${completionsCommand(["bash"])}\ncd /var/empty 2>/dev/null || cd /\n${
      asks.join("\n")
    }\n`;
    const { stdout } = await new Deno.Command("bash", { args: ["-c", script] }).output();
    const answers = new TextDecoder().decode(stdout).trimEnd().split("\n");
    for (const [i, [line, expected]] of lines.entries()) {
      const answer = answers[i]!.split(" ");
      assert(expected.every((word) => answer.includes(word)), `${line}: ${answers[i]}`);
    }
    assertEquals(answers.slice(0, 3), ["doctor", "--kv-cache-dtype", "auto webgpu cpu"]);
  },
});
