import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { decoderSizes } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import {
  GEMMA_FIELDS,
  gemmaEmbedding,
  gemmaLayer,
  gemmaLmHead,
  gemmaWindows,
  SoftCap,
} from "./gemma_parts.ts";
import { ignoredTensors } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const Gemma2Json = z.object({
  ...GEMMA_FIELDS,
  attn_logit_softcapping: SoftCap.default(50),
  final_logit_softcapping: SoftCap.default(30),
});

/**
 * Gemma 2 (Gemma Team 2024, arXiv:2408.00118): norms before and after each sublayer, GELU, soft
 * caps of attention scores and of logits, and a window in every other layer, from the first.
 */
export const gemma2: ModelFamily = (json, file) => {
  const fields = parseModelJson(Gemma2Json, json, file);
  const sizes = decoderSizes(fields, file);
  const rope = parseRope(json, file, sizes);
  const windows = gemmaWindows(fields, (layer) => layer % 2 === 0, file);
  const softCap = fields.attn_logit_softcapping ?? undefined;
  return decoder({
    modelType: "gemma2",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: gemmaEmbedding(sizes),
    layers: windows.map((window, layer) =>
      gemmaLayer(fields, sizes, { layer, window, softCap, rope: "rope" })
    ),
    lmHead: gemmaLmHead(sizes, fields.final_logit_softcapping),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
