import type { FillInTokens } from "../core/fill_in_tokens.ts";

/**
 * The texts of fill-in tokens by family, all of which put them in this order (Bavarian et al. 2022,
 * 2207.14255): Qwen Coder and CodeGemma, StarCoder and Granite, SantaCoder, DeepSeek Coder, Code
 * Llama.
 */
const NAMES = [
  ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
  ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
  ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
  ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
  ["▁<PRE>", "▁<SUF>", "▁<MID>"],
] as const;

/** The fill-in tokens of a vocabulary; undefined where it has none that are known. */
export function findFillInTokens(
  idOf: (token: string) => number | undefined,
): FillInTokens | undefined {
  for (const names of NAMES) {
    const [prefix, suffix, middle] = names.map(idOf);
    if (prefix !== undefined && suffix !== undefined && middle !== undefined) {
      return { prefix, suffix, middle };
    }
  }
  return undefined;
}
