/** A small but complete Llama config.json, with `changes` made to it. */
export function configJson(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    model_type: "llama",
    hidden_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 8,
    intermediate_size: 128,
    vocab_size: 256,
    max_position_embeddings: 512,
    ...changes,
  };
}
