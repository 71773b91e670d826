import { assertEquals, assertThrows } from "@std/assert";
import { loadPoolingConfig } from "../../models/pooling_config.ts";
import { StartupError } from "../../src/core/errors.ts";

const MODULE = "sentence_transformers.models.";

function load(modules: readonly string[] | undefined, pooling?: object, path = "1_Pooling") {
  const texts: Record<string, string> = {};
  if (modules !== undefined) {
    texts["modules.json"] = JSON.stringify(modules.map((name, idx) => ({
      ...{ idx, name: String(idx), type: MODULE + name },
      path: name === "Pooling" ? path : "",
    })));
  }
  if (pooling !== undefined) texts["1_Pooling/config.json"] = JSON.stringify(pooling);
  return loadPoolingConfig({ path: "model.gguf", texts });
}

Deno.test("loadPoolingConfig() takes the way and the normalization from a model's modules", () => {
  const all = ["Transformer", "Pooling", "Normalize"];
  const flags = (on: string) => ({
    word_embedding_dimension: 1024,
    pooling_mode_cls_token: on === "cls_token",
    pooling_mode_mean_tokens: on === "mean_tokens",
    pooling_mode_lasttoken: on === "lasttoken",
    pooling_mode_max_tokens: false,
    include_prompt: true,
  });
  assertEquals(load(all, flags("lasttoken")), { pooling: "last", isNormalized: true });
  assertEquals(load(all, flags("mean_tokens")), { pooling: "mean", isNormalized: true });
  assertEquals(load(all.slice(0, 2), flags("cls_token")), { pooling: "cls", isNormalized: false });
  assertEquals(load(all, { pooling_mode: "lasttoken" }), { pooling: "last", isNormalized: true });
});

Deno.test("loadPoolingConfig() pools a plain text generator by its last token", () => {
  assertEquals(load(undefined), { pooling: "last", isNormalized: true });
});

Deno.test("loadPoolingConfig() says why a model's own way is not one of those that exist", () => {
  const why = (...args: Parameters<typeof load>) =>
    (load(...args) as { unsupported?: string }).unsupported;
  const both = { pooling_mode_mean_tokens: true, pooling_mode_max_tokens: true };
  assertEquals(
    why(["Transformer", "Pooling"], both),
    "the model pools by pooling_mode_mean_tokens and pooling_mode_max_tokens",
  );
  assertEquals(why(["Pooling"], {}), "the model pools by nothing");
  assertEquals(why(["Pooling"]), "model.gguf (as 1_Pooling/config.json) is missing");
  assertEquals(why(["Pooling"], {}, "../x"), 'its pooling lies in "../x"');
  assertEquals(
    why(["Transformer", "Pooling", "Dense"], { pooling_mode: "mean" }),
    'the model\'s modules.json has a module "Dense"',
  );
  assertThrows(
    () => loadPoolingConfig({ path: "m", texts: { "modules.json": "{}" } }),
    StartupError,
    "modules.json",
  );
});
