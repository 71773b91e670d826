/**
 * Quantizes a GGUF file by llama.cpp's own code:
 * `deno run -A bench/peers/llama_quantize.ts INSTALL_DIR INPUT OUTPUT TYPE`
 *
 * TYPE is one of {@link FILE_TYPES}. The library prints what becomes of each tensor, and the bits per
 * weight of all.
 */

/** `llama_ftype` of llama.h. */
const FILE_TYPES: Readonly<Record<string, number>> = { Q4_0: 2, Q8_0: 7, Q4_K_S: 14, Q4_K_M: 15 };
/** Room for `llama_model_quantize_params`, whose first two fields are threads and file type. */
const PARAMS = Array.from({ length: 16 }, () => "u64" as const);

function main([install, input, output, type]: readonly string[]): void {
  const folder = `${install}/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64`;
  const name = [...Deno.readDirSync(folder)].find(({ name }) => /^libllama\.(v.*\.)?so/.test(name));
  const { symbols } = Deno.dlopen(`${folder}/${name!.name}`, {
    llama_backend_init: { parameters: [], result: "void" },
    llama_model_quantize_default_params: { parameters: [], result: { struct: PARAMS } },
    llama_model_quantize: { parameters: ["buffer", "buffer", "buffer"], result: "u32" },
  });
  symbols.llama_backend_init();
  const params = symbols.llama_model_quantize_default_params();
  new Int32Array(params.buffer).set([2, FILE_TYPES[type!]!]);
  const text = (words: string) => new TextEncoder().encode(`${words}\0`);
  if (symbols.llama_model_quantize(text(input!), text(output!), params) !== 0) Deno.exit(1);
}

if (import.meta.main) main(Deno.args);
