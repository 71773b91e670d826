import { z } from "zod";

const MODEL = "Model";

/** The settings of the model: which one, how long its sequences are, how weights are stored. */
export const MODEL_SETTINGS = {
  model: z.string().min(1).optional().meta({
    description:
      "Model to serve: a local directory, a GGUF file, or a name on Hugging Face's hub " +
      "such as Qwen/Qwen3-0.6B, looked for in the cache first",
    group: MODEL,
    value: "MODEL",
    aliases: ["-m", "-hf", "--hf-repo"],
    defaultText: "the bundled demo model",
  }),
  yes: z.boolean().default(false).meta({
    description: "Download a model that is not in the cache without asking",
    group: MODEL,
    value: "",
  }),
  servedModelName: z.array(z.string().min(1)).default([]).meta({
    description: 'Name(s) clients use in "model"; the first is the one reported',
    group: MODEL,
    value: "NAME",
    aliases: ["-a", "--alias"],
    defaultText: "the model's own name",
  }),
  maxModelLen: z.union([z.literal("auto"), z.int().min(2)]).optional().meta({
    description:
      "Most tokens of one sequence, prompt and output together; auto makes the KV pool " +
      "large enough for the longest that fits",
    group: MODEL,
    value: "TOKENS|auto",
    aliases: ["-c", "--ctx-size"],
    defaultText: "what the model and the KV pool allow",
  }),
  quantization: z.enum(["none", "int8", "int4"]).default("none").meta({
    description:
      "Quantizes weight matrices as they are loaded; none keeps the type they are stored in",
    group: MODEL,
    value: "METHOD",
  }),
  quantizationGroupSize: z.enum(["32", "128"]).default("32").meta({
    description: "Weights that share a scale: 128 takes less memory, 32 loses less",
    group: MODEL,
    value: "WEIGHTS",
  }),
  quantizationEmbedding: z.enum(["int8", "int4"]).default("int8").meta({
    description: "What the embedding and the output's matrix become where the other matrices " +
      "become int4: int8 takes more memory and loses less",
    group: MODEL,
    value: "METHOD",
  }),
  int8Activations: z.enum(["off", "auto", "on"]).default("off").meta({
    description: "Quantizes what is multiplied with quantized weights to int8 as well: more " +
      "arithmetic per second for prompts, a little quality; auto does on GPUs with packed dot " +
      "products and without matrix units",
    group: MODEL,
    value: "WHEN",
  }),
};
