import { ArchitectureKeys, architectureOf } from "./architectures.ts";
import type { GgufFile } from "./gguf_file.ts";

/** The ways by `pooling_type`, as Sentence Transformers names them. */
const WAYS: ReadonlyMap<number, string> = new Map([[1, "mean"], [2, "cls"], [3, "lasttoken"]]);

/** A module of Sentence Transformers. */
function moduleOf(name: string, path: string) {
  return { name, path, type: `sentence_transformers.models.${name}` };
}

/**
 * The files that say how a model of a GGUF file embeds, by name; none where its metadata says
 * nothing. Vectors are normalized, as llama.cpp does.
 */
export function poolingTexts({ metadata }: GgufFile): Readonly<Record<string, string>> {
  const { name } = architectureOf(metadata);
  const type = new ArchitectureKeys(metadata, name).count("pooling_type");
  const way = type === undefined ? undefined : WAYS.get(type);
  if (way === undefined) return {};
  const modules = [moduleOf("Pooling", "1_Pooling"), moduleOf("Normalize", "2_Normalize")];
  return {
    "modules.json": JSON.stringify(modules),
    "1_Pooling/config.json": JSON.stringify({ pooling_mode: way }),
  };
}
