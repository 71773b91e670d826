import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { findShards, resolveShard } from "../../src/weights/shards.ts";
import { withModelDir } from "./checkpoint_files.ts";

const INDEX = "model.safetensors.index.json";

function index(weightMap: unknown): Record<string, string> {
  return { [INDEX]: JSON.stringify({ metadata: {}, weight_map: weightMap }) };
}

Deno.test("findShards() prefers the single file", () => {
  withModelDir({ ...index({ t: "a.safetensors" }), "model.safetensors": "" }, (dir) => {
    const path = `${dir}/model.safetensors`;
    assertEquals(findShards(dir), { path, files: ["model.safetensors"] });
  });
});

Deno.test("findShards() lists each shard of an index once", () => {
  const weightMap = { a: "m-1.safetensors", b: "m-2.safetensors", c: "m-1.safetensors" };
  withModelDir(index(weightMap), (dir) => {
    const { files, fileOfTensor } = findShards(dir);
    assertEquals(files, ["m-1.safetensors", "m-2.safetensors"]);
    assertEquals(fileOfTensor!.get("c"), "m-1.safetensors");
  });
});

Deno.test("findShards() refuses a directory without safetensors", () => {
  withModelDir({ "pytorch_model.bin": "" }, (dir) => {
    assertThrows(() => findShards(dir), StartupError, "Quire reads safetensors only");
  });
});

Deno.test("findShards() refuses file names that could leave the directory", () => {
  const names = [
    "../m.safetensors",
    "/etc/m.safetensors",
    "sub/m.safetensors",
    "..\\m.safetensors",
    "C:m.safetensors",
    ".safetensors",
    "m.bin",
    "m.safetensors\0",
    7,
    null,
  ];
  for (const name of names) {
    withModelDir(index({ t: name }), (dir) => {
      assertThrows(() => findShards(dir), StartupError, 'tensor "t" is in');
    });
  }
});

Deno.test("findShards() refuses a malformed index", () => {
  for (const weightMap of [undefined, [], "x", null]) {
    withModelDir(index(weightMap), (dir) => {
      assertThrows(() => findShards(dir), StartupError, '"weight_map" must be an object');
    });
  }
  withModelDir(index({}), (dir) => {
    assertThrows(() => findShards(dir), StartupError, "names 0 files: must be 1 to 1024");
  });
  withModelDir({ [INDEX]: "{" }, (dir) => {
    assertThrows(() => findShards(dir), StartupError, "is not valid JSON");
  });
});

Deno.test("resolveShard() names a missing file", () => {
  withModelDir({}, (dir) => {
    assertThrows(() => resolveShard(dir, "m.safetensors"), StartupError, "is missing");
  });
});

Deno.test("resolveShard() refuses a link out of the directory", () => {
  withModelDir({ "outside.safetensors": "" }, (outer) => {
    Deno.mkdirSync(`${outer}/model`);
    Deno.symlinkSync("../outside.safetensors", `${outer}/model/m.safetensors`);
    assertThrows(
      () => resolveShard(`${outer}/model`, "m.safetensors"),
      StartupError,
      "is a link out of its directory",
    );
  });
});

Deno.test("resolveShard() follows the links of a hub cache, and only those", () => {
  withModelDir({}, (cache) => {
    const snapshot = `${cache}/snapshots/abc`;
    Deno.mkdirSync(snapshot, { recursive: true });
    Deno.mkdirSync(`${cache}/blobs/deeper`, { recursive: true });
    Deno.writeTextFileSync(`${cache}/blobs/123`, "");
    Deno.writeTextFileSync(`${cache}/blobs/deeper/123`, "");
    Deno.symlinkSync("../../blobs/123", `${snapshot}/m.safetensors`);
    Deno.symlinkSync("../../blobs/deeper/123", `${snapshot}/n.safetensors`);
    assertEquals(resolveShard(snapshot, "m.safetensors"), Deno.realPathSync(`${cache}/blobs/123`));
    assertThrows(() => resolveShard(snapshot, "n.safetensors"), StartupError, "link out of");
  });
});

Deno.test("resolveShard() follows the links to contents that repositories share", () => {
  withModelDir({}, (cache) => {
    const repo = `${cache}/models--a--b`;
    const digest = "c".repeat(64);
    for (const dir of [`${repo}/snapshots/abc`, `${repo}/blobs`, `${cache}/blobs/cc`]) {
      Deno.mkdirSync(dir, { recursive: true });
    }
    for (const name of [`cc/${digest}`, "cc/short", "other"]) {
      Deno.writeTextFileSync(`${cache}/blobs/${name}`, "");
    }
    const resolve = (target: string) => {
      Deno.symlinkSync(`../../blobs/${target}`, `${repo}/blobs/123`);
      Deno.symlinkSync("../../blobs/123", `${repo}/snapshots/abc/m.safetensors`);
      try {
        return resolveShard(`${repo}/snapshots/abc`, "m.safetensors");
      } finally {
        Deno.removeSync(`${repo}/blobs/123`);
        Deno.removeSync(`${repo}/snapshots/abc/m.safetensors`);
      }
    };
    assertEquals(resolve(`cc/${digest}`), Deno.realPathSync(`${cache}/blobs/cc/${digest}`));
    for (const elsewhere of ["cc/short", "other"]) {
      assertThrows(() => resolve(elsewhere), StartupError, "link out of");
    }
  });
});
