import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { StartupError } from "../../src/core/errors.ts";
import { hubSettings } from "../../src/hub/hub_settings.ts";
import {
  formatModelReference,
  looksLikeModelName,
  parseModelReference,
  whyUnsafePath,
} from "../../src/hub/model_reference.ts";
import { quantsOf } from "../../src/hub/select_files.ts";
import { runs } from "../support/runs.ts";

Deno.test("a reference has a name, a revision, and a file or a quantization", () => {
  for (
    const [text, expected] of [
      ["Qwen/Qwen3-0.6B", { repo: "Qwen/Qwen3-0.6B" }],
      ["gpt2", { repo: "gpt2" }],
      ["a/b@refs/pr/3", { repo: "a/b", revision: "refs/pr/3" }],
      ["a/b@v1.0:Q4_K_M", { repo: "a/b", revision: "v1.0", quant: "Q4_K_M" }],
      ["a/b:x/y-Q8_0.gguf", { repo: "a/b", file: "x/y-Q8_0.gguf" }],
      ["a/b:model.fp16.safetensors", { repo: "a/b", file: "model.fp16.safetensors" }],
    ] as const
  ) {
    assertEquals(parseModelReference(text), expected);
    assertEquals(formatModelReference(parseModelReference(text)), text);
  }
});

Deno.test("what is no reference is refused with the part that is wrong", () => {
  const messageOf = (text: string) =>
    assertThrows(() => parseModelReference(text), StartupError).message;
  for (
    const text of ["", "a/b/c", "/a/b", "a/../b", "a//b", "a/b.git", "a--b/c", "-a/b", "a/b c"]
  ) {
    assertStringIncludes(messageOf(text), "its name must be ORG/NAME");
  }
  for (const text of ["a/b@", "a/b@../x", "a/b@/x", "a/b@x//y", "a/b@x.lock", "a/b@-x"]) {
    assertStringIncludes(messageOf(text), "its revision must be a branch, a tag or a commit");
  }
  for (const text of ["a/b:", "a/b:../x.gguf", "a/b:/x.gguf", "a/b:x\\y", "a/b:x/./y.gguf"]) {
    assertStringIncludes(messageOf(text), JSON.stringify(text));
  }
});

Deno.test("folders are told from names on the hub", () => {
  for (const name of ["a/b", "a/b@main", "a/b:Q4_0"]) assertEquals(looksLikeModelName(name), true);
  for (const path of ["./a/b", "/a/b", "a", "a/b/c", "~/a", "C:\\a\\b", "../a", "a/b/"]) {
    assertEquals(looksLikeModelName(path), false, path);
  }
});

Deno.test("a path that is safe stays below its folder, whatever it is joined to", () => {
  const part = fc.oneof(
    fc.constantFrom("..", ".", "", "a", "b.gguf", "c:", "\\", "\0"),
    fc.string({ maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }).map((parts) => parts.join("/")), (path) => {
      if (whyUnsafePath(path) !== undefined) return;
      const url = new URL(path.split("/").map(encodeURIComponent).join("/"), "file:///models/x/");
      assertEquals(url.pathname.startsWith("/models/x/"), true);
      assertEquals(path.split("/").filter((part) => part === ".." || part === ""), []);
    }),
    { numRuns: runs(2000), seed: 3 },
  );
});

Deno.test("the Python client's variables mean here what they mean there", () => {
  const cacheOf = (env: Record<string, string>) => hubSettings(env).cacheDir;
  assertEquals(cacheOf({ HOME: "/home/u" }), "/home/u/.cache/huggingface/hub");
  assertEquals(cacheOf({ HOME: "/h", XDG_CACHE_HOME: "/x" }), "/x/huggingface/hub");
  assertEquals(cacheOf({ HOME: "/h", XDG_CACHE_HOME: "/x", HF_HOME: "~/hf/" }), "/h/hf/hub");
  assertEquals(cacheOf({ HOME: "/h", HF_HOME: "/hf", HF_HUB_CACHE: "$D/c", D: "/d" }), "/d/c");
  assertEquals(cacheOf({ HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old" }), "/old");
  assertThrows(() => cacheOf({}), StartupError, "set HF_HOME or HOME");
  const home = { HOME: "/h" };
  const offline = ["1", "true", "YES", "On"].map((HF_HUB_OFFLINE) =>
    hubSettings({ ...home, HF_HUB_OFFLINE }).isOffline
  );
  assertEquals(offline, [true, true, true, true]);
  assertEquals(hubSettings({ ...home, TRANSFORMERS_OFFLINE: "1" }).isOffline, true);
  assertEquals(hubSettings({ ...home, HF_HUB_OFFLINE: "0" }).isOffline, false);
  const settings = hubSettings({
    ...home,
    HF_ENDPOINT: "https://hub.example/x/",
    HF_HUB_DOWNLOAD_TIMEOUT: "30",
    HF_HUB_ETAG_TIMEOUT: "3",
    HF_HUB_DISABLE_PROGRESS_BARS: "1",
    HF_HUB_DISABLE_SYMLINKS: "1",
  });
  assertEquals(settings, {
    cacheDir: "/h/.cache/huggingface/hub",
    endpoint: "https://hub.example/x",
    isOffline: false,
    etagTimeoutMs: 3000,
    downloadTimeoutMs: 30_000,
    hasBars: false,
    usesSymlinks: false,
  });
  for (
    const [variable, value] of [
      ["HF_ENDPOINT", "ftp://x"],
      ["HF_ENDPOINT", "huggingface.co"],
      ["HF_HUB_ETAG_TIMEOUT", "soon"],
    ] as const
  ) {
    assertThrows(() => hubSettings({ ...home, [variable]: value }), StartupError, variable);
  }
});

Deno.test("the token comes from HF_TOKEN, or else from the token file", () => {
  const home = Deno.makeTempDirSync();
  const tokenOf = (env: Record<string, string>) => hubSettings({ HF_HOME: home, ...env }).token;
  assertEquals(tokenOf({}), undefined);
  Deno.writeTextFileSync(`${home}/token`, "hf_file\n");
  Deno.writeTextFileSync(`${home}/other`, " hf_other ");
  assertEquals(tokenOf({}), "hf_file");
  assertEquals(tokenOf({ HF_TOKEN_PATH: `${home}/other` }), "hf_other");
  assertEquals(tokenOf({ HF_TOKEN: "hf_variable" }), "hf_variable");
  assertEquals(tokenOf({ HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }), undefined);
  const { message } = assertThrows(() => tokenOf({ HF_TOKEN: "hf secret" }), StartupError);
  assertEquals(message.includes("secret"), false);
  Deno.removeSync(home, { recursive: true });
});

Deno.test("quantizations are read from the names of GGUF files", () => {
  const paths = [
    "Qwen3-0.6B-Q4_K_M.gguf",
    "tiny.Q8_0.gguf",
    "IQ4_XS/big-IQ4_XS-00001-of-00003.gguf",
    "x-BF16.gguf",
    "gpt-oss-MXFP4_MOE.gguf",
    "mmproj-F16.gguf",
    "model.safetensors",
  ];
  assertEquals(quantsOf(paths), ["BF16", "IQ4_XS", "MXFP4_MOE", "Q4_K_M", "Q8_0"]);
});
