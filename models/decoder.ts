import { invariant } from "../src/base/invariant.ts";
import type { CacheSpec } from "../src/core/cache_group.ts";
import type { KernelCall } from "../src/device/kernel.ts";
import type { StepDims } from "../kernels/step.ts";
import type {
  AttentionHeads,
  BufferSpec,
  BufferSpecs,
  GraphInputs,
  Model,
  WeightSpec,
} from "./model.ts";

/**
 * A part of a forward pass, such as the attention of one layer, with the weights and buffers that
 * its calls name.
 */
export interface Sublayer {
  readonly weights: readonly WeightSpec[];
  readonly buffers: BufferSpecs;
  readonly calls: (inputs: GraphInputs) => KernelCall<StepDims>[];
  /** The heads of a sublayer of attention. */
  readonly heads?: AttentionHeads;
  /** What the sublayer keeps of earlier positions, where it keeps any of its own. */
  readonly cache?: CacheSpec;
}

/** What makes logits of the last hidden states. */
export interface LmHead extends Sublayer, Pick<Model, "hiddenSize"> {
  /** See `HiddenReadouts`. */
  readonly poolings: Model["readouts"]["poolings"];
}

/** The parts of a decoder; the other fields are the model's own. */
export interface DecoderParts extends
  Pick<
    Model,
    | "modelType"
    | "vocabSize"
    | "maxPositionEmbeddings"
    | "positionTables"
    | "ignoredTensors"
    | "warnings"
  > {
  readonly embed: Sublayer;
  /** The sublayers of each layer; at most one has heads, and at most one a cache. */
  readonly layers: readonly (readonly Sublayer[])[];
  readonly lmHead: LmHead;
}

/**
 * A model that runs its sublayers one after the other: `embed`, each layer's, `lmHead`. Those share
 * the buffers that bear one name; each is as large as the sublayer that needs most of it.
 */
export function decoder({ embed, layers, lmHead, ...model }: DecoderParts): Model {
  const parts = [embed, ...layers.flat(), lmHead];
  return Object.freeze({
    ...model,
    ...shortContext(model.positionTables),
    caches: Object.freeze(layers.map((layer) => only(layer.map(({ cache }) => cache)))),
    attention: Object.freeze(layers.map((layer) => only(layer.map(({ heads }) => heads)))),
    weights: Object.freeze(parts.flatMap(({ weights }) => weights)),
    buffers: sharedBuffers(parts, Object.keys(model.positionTables)),
    hiddenSize: lmHead.hiddenSize,
    readouts: Object.freeze({ logits: lmHead.calls, poolings: lmHead.poolings }),
    graph: (inputs: GraphInputs) =>
      [embed, ...layers.slice(0, inputs.numLayers).flat(), lmHead]
        .flatMap(({ calls }) => calls(inputs)),
  });
}

/** Where LongRoPE goes over to its second factors; all tables that it scales have to agree. */
function shortContext(tables: Model["positionTables"]): Pick<Model, "shortContextLen"> {
  const lengths = Object.values(tables).flatMap(({ scaling }) =>
    scaling?.type === "longrope" ? scaling.originalMaxPositionEmbeddings ?? [] : []
  );
  const [shortContextLen] = lengths;
  if (shortContextLen === undefined) return {};
  invariant(lengths.every((each) => each === shortContextLen), `short contexts of ${lengths}`);
  return { shortContextLen };
}

function only<T>(values: readonly (T | undefined)[]): T | undefined {
  const [value, ...others] = values.filter((each) => each !== undefined);
  invariant(others.length === 0, "a layer has more than one sublayer of attention or state");
  return value;
}

function sharedBuffers(parts: readonly Sublayer[], tables: readonly string[]): BufferSpecs {
  const shared: Record<string, BufferSpec> = {};
  for (const [name, spec] of parts.flatMap(({ buffers }) => Object.entries(buffers))) {
    const { per, words } = shared[name] ?? spec;
    invariant(per === spec.per, `buffer ${name} grows per ${per} and per ${spec.per}`);
    invariant(!tables.includes(name), `buffer ${name} is a position table, too`);
    shared[name] = { per, words: Math.max(words, spec.words) };
  }
  return Object.freeze(shared);
}
