"""Logits and greedy tokens of a tiny model of each family, in torch, by the families' published formulas.

    python3 families.py > families_golden.json      (torch 2, numpy 2)
    python3 families.py NAME                        figures of one case, for choosing its numbers
    python3 families.py NAME 12                     margins of the prompts of so many seeds, the largest first

No outside weights: element i of a tensor is a hash of i and the tensor's number, exact in f16. tests/support/hashed_checkpoint.ts makes the same.

A case is a config.json as its family's checkpoints have it, with the family's quirks active: a window shorter than the prompt, scaled rotary frequencies, odd
numbers of heads, a head size that is not hidden size over heads. Each quirk is switched off in turn, which has to change some logit by MIN_EFFECT, so that an
implementation without it cannot agree by chance. The logits are computed in float32 and in float64, which must agree; those written are float64's, rounded to
multiples of 2^-12, so that every machine writes the same file.
"""
import base64
import json
import math
import sys
from dataclasses import dataclass, replace

import numpy as np
import torch

NUM_PROMPT_TOKENS = 200
NUM_TOKENS = 32
STEPS_PER_UNIT = 4096
MIN_EFFECT = 0.05
MIN_MARGIN = 0.02
MIN_DISTINCT = 12
MAX_FLOAT32_ERROR = 1e-4


# The formulas

@dataclass(frozen=True)
class Rope:
    """Rotary positions (Su 2021, arXiv:2104.09864) with a base and a scaling, as in config.json."""

    theta: float
    scaling: dict | None = None
    share: float = 1  # of a head's dims, the first ones, that are rotated


@dataclass(frozen=True)
class Spec:
    """A decoder, quirk by quirk. A name of a norm is None where the family has no norm in that place."""

    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    eps: float
    windows: tuple  # per layer: None or the positions that a query reads, its own included
    ropes: tuple  # per layer; None: positions are not rotated
    scale: float  # of attention scores
    is_tied: bool
    attention_in: str | None = "input_layernorm"
    attention_out: str | None = None
    mlp_in: str | None = "post_attention_layernorm"
    mlp_out: str | None = None
    norm_offset: float = 0  # a norm multiplies by norm_offset + weight
    qk_norm: str | None = None  # over each "head", or over the whole "projection"
    has_biases: bool = False  # of q, k and v
    has_output_bias: bool = False  # of o
    has_mlp_biases: bool = False
    is_fused: bool = False  # q, k and v are one tensor, and so are gate and up
    gates_first: bool = True
    attention_cap: float | None = None
    logit_cap: float | None = None
    embed_scale: float = 1
    residual_scale: float = 1  # of what a block adds
    logit_divisor: float = 1
    query_growth: tuple | None = None  # rate and span: a query is multiplied by 1 + rate * ln(1 + floor(position / span))
    activation: str = "silu"
    experts: int = 0  # of each layer but the dense ones; 0 where the family has none
    top_k: int = 0
    expert_inner: int = 0
    normalizes_weights: bool = True  # of the experts that a token goes to
    dense_layers: tuple = ()
    is_stacked: bool = False  # a layer's experts are one tensor, transposed, each gate before its up, with biases and clamped gates
    has_router_bias: bool = False
    has_expert_biases: bool = False
    gates_alternate: bool = True
    clamp: float = math.inf
    swish: float = 1.702  # of clamped gates
    up_addend: float = 1
    has_sinks: bool = False  # of attention: a score for each head, without a value
    sharpness: float = 1  # this file multiplies q and k by it, so that attention is not flat
    fading: float = 1  # it divides embeddings by this, and multiplies the last norm: or a tied head answers each token with itself


def rms_norm(x, weight, spec):
    """Zhang and Sennrich 2019, arXiv:1910.07467; with an offset of 1 as in Gemma (arXiv:2403.08295)."""
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + spec.eps) * (spec.norm_offset + weight)


def frequencies(rope, head_dim, length):
    """Radians per position of each pair of dims in a sequence of so many tokens, and the factor of their cosines and sines."""
    half = head_dim // 2
    plain = torch.tensor([rope.theta ** (-i / half) for i in range(half)], dtype=torch.float64)
    s = rope.scaling
    if s is not None and s["rope_type"] == "longrope":  # Ding 2024, arXiv:2402.13753; the factor is that of Phi-3 (arXiv:2404.14219)
        stretch = s["max_position_embeddings"] / s["original_max_position_embeddings"]
        name = "long_factor" if length > s["original_max_position_embeddings"] else "short_factor"
        factors = torch.tensor(s[name], dtype=torch.float64)
        return plain / factors, math.sqrt(1 + math.log(stretch) / math.log(s["original_max_position_embeddings"]))
    kind = "default" if s is None else s["rope_type"]
    if kind == "default":
        return plain, 1
    if kind == "linear":  # Chen 2023, arXiv:2306.15595
        return plain / s["factor"], 1
    turns = s["original_max_position_embeddings"] * plain / (2 * math.pi)
    if kind == "llama3":  # Llama 3.1 (arXiv:2407.21783): as they are, divided, or between the two
        low, high = s["low_freq_factor"], s["high_freq_factor"]
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return kept * plain + (1 - kept) * plain / s["factor"], 1
    if kind == "yarn":  # Peng 2023, arXiv:2309.00071; the ramp is linear in the pair's index, between whole indices, as in the authors' code
        def index_of(turns):
            return half * math.log(s["original_max_position_embeddings"] / (turns * 2 * math.pi)) / math.log(rope.theta)

        down, up = (math.floor, math.ceil) if s.get("truncate", True) else (float, float)
        first = max(down(index_of(s["beta_fast"])), 0)
        last = min(up(index_of(s["beta_slow"])), head_dim - 1)
        divided = ((torch.arange(half, dtype=torch.float64) - first) / (last - first)).clamp(0, 1)
        def temperature(name):
            return 0.1 * s.get(name, 1.0) * math.log(s["factor"]) + 1

        factor = temperature("mscale") / temperature("mscale_all_dim") if "mscale" in s and "mscale_all_dim" in s else temperature("none")
        return (1 - divided) * plain + divided * plain / s["factor"], factor
    raise ValueError(kind)


def rotate(x, rope):
    """x [T, heads, D]: dims (i, i + D/2) turned by position times frequency i."""
    if rope is None:
        return x
    if rope.share != 1:
        rotated = int(rope.share * x.shape[-1])
        return torch.cat([rotate(x[..., :rotated], replace(rope, share=1)), x[..., rotated:]], -1)
    speed, factor = frequencies(rope, x.shape[-1], x.shape[0])
    angle = torch.arange(x.shape[0], dtype=torch.float64)[:, None, None] * speed
    cos, sin = (factor * torch.cos(angle)).to(x.dtype), (factor * torch.sin(angle)).to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def cap(x, limit):
    """A soft cap (Gemma 2, arXiv:2408.00118)."""
    return x if limit is None else limit * torch.tanh(x / limit)


def activate(x, spec):
    if spec.activation == "silu":
        return x * torch.sigmoid(x)
    # GELU by its tanh approximation (Hendrycks and Gimpel 2016, arXiv:1606.08415).
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def parts(w, at, name, sizes):
    """The rows of a tensor, which has those of several projections below each other."""
    return torch.split(w[f"{at}{name}_proj.weight"], sizes)


def attention(w, at, y, spec, layer):
    """Grouped queries (Ainslie 2023, arXiv:2305.13245), causal, in some layers over a window only."""
    n, d = y.shape[0], spec.head_dim
    if spec.is_fused:
        split = parts(w, at, "qkv", [spec.heads * d, spec.kv_heads * d, spec.kv_heads * d])
        w = w | {f"{at}{name}_proj.weight": rows for name, rows in zip("qkv", split)}

    def project(name, heads):
        x = y @ w[f"{at}{name}_proj.weight"].T
        if spec.has_biases:
            x = x + w[f"{at}{name}_proj.bias"]
        is_normed = name != "v" and spec.qk_norm is not None
        if is_normed and spec.qk_norm == "projection":  # OLMo 2, arXiv:2501.00656
            x = rms_norm(x, w[f"{at}{name}_norm.weight"], spec)
        x = x.reshape(n, heads, d)
        if is_normed and spec.qk_norm == "head":  # Qwen3, arXiv:2505.09388; Gemma 3, arXiv:2503.19786
            x = rms_norm(x, w[f"{at}{name}_norm.weight"].reshape(-1)[:d], spec)
        return x

    q = rotate(project("q", spec.heads), spec.ropes[layer])
    if spec.query_growth is not None:
        rate, span = spec.query_growth
        q = q * (1 + rate * torch.log(1 + torch.arange(n) // span))[:, None, None].to(q.dtype)
    k = rotate(project("k", spec.kv_heads), spec.ropes[layer])
    v = project("v", spec.kv_heads)
    k, v = (x.repeat_interleave(spec.heads // spec.kv_heads, dim=1) for x in (k, v))
    scores = cap(torch.einsum("qhd,khd->hqk", q, k) * spec.scale, spec.attention_cap)
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    window = n if spec.windows[layer] is None else spec.windows[layer]
    scores = scores.masked_fill((distance < 0) | (distance >= window), -math.inf)
    if spec.has_sinks:  # gpt-oss, arXiv:2508.10925: each head's takes its share of the weight, and gives nothing
        sinks = w[f"{at}sinks"][:, None, None].expand(-1, n, 1)
        weights = torch.softmax(torch.cat([scores, sinks], -1), -1)[..., :-1]
    else:
        weights = torch.softmax(scores, -1)
    attended = torch.einsum("hqk,khd->qhd", weights, v)
    out = attended.reshape(n, spec.heads * d) @ w[f"{at}o_proj.weight"].T
    return out + w[f"{at}o_proj.bias"] if spec.has_output_bias else out


def feed_forward(w, at, y, spec):
    if spec.is_fused:
        names = ("gate", "up") if spec.gates_first else ("up", "gate")
        w = w | {f"{at}{name}_proj.weight": rows for name, rows in zip(names, parts(w, at, "gate_up", [spec.inner, spec.inner]))}

    def project(name, x):
        out = x @ w[f"{at}{name}_proj.weight"].T
        return out + w[f"{at}{name}_proj.bias"] if spec.has_mlp_biases else out

    return project("down", activate(project("gate", y), spec) * project("up", y))


def route(scores, spec):
    """Each token's weight of every expert, 0 but for the TOP_K likeliest (Shazeer 2017, arXiv:1701.06538)."""
    likelihood = torch.softmax(scores, -1)
    least = likelihood.topk(spec.top_k).values[:, -1:]
    kept = torch.where(likelihood >= least, likelihood, torch.zeros_like(likelihood))
    return kept / kept.sum(-1, keepdim=True) if spec.normalizes_weights else kept


def mixture(w, at, y, spec):
    weight = route(y @ w[f"{at}gate.weight"].T, spec)
    return sum(weight[:, i : i + 1] * feed_forward(w, f"{at}experts.{i}.", y, spec) for i in range(spec.experts))


def clamped_expert(w, at, i, y, spec):
    """Expert i of gpt-oss (arXiv:2508.10925; github.com/openai/gpt-oss): swish of 1.702, clamped, and ups moved by one."""
    both = y @ w[f"{at}gate_up_proj"][i]
    if spec.has_expert_biases:
        both = both + w[f"{at}gate_up_proj_bias"][i]
    gate, up = (both[:, ::2], both[:, 1::2]) if spec.gates_alternate else both.chunk(2, -1)
    gate, up = gate.clamp(max=spec.clamp), up.clamp(-spec.clamp, spec.clamp)
    out = (gate * torch.sigmoid(spec.swish * gate) * (up + spec.up_addend)) @ w[f"{at}down_proj"][i]
    return out + w[f"{at}down_proj_bias"][i] if spec.has_expert_biases else out


def clamped_mixture(w, at, y, spec):
    scores = y @ w[f"{at}router.weight"].T
    if spec.has_router_bias:
        scores = scores + w[f"{at}router.bias"]
    weight = route(scores, spec)
    return sum(weight[:, i : i + 1] * clamped_expert(w, f"{at}experts.", i, y, spec) for i in range(spec.experts))


def mlp(w, at, y, spec, layer):
    if spec.is_stacked:
        return clamped_mixture(w, at, y, spec)
    return feed_forward(w, at, y, spec) if spec.experts == 0 or layer in spec.dense_layers else mixture(w, at, y, spec)


def logits(w, spec, ids):
    """[T, V], of every position."""
    x = w["model.embed_tokens.weight"][ids] * spec.embed_scale
    for layer in range(len(spec.windows)):
        at = f"model.layers.{layer}."

        def norm(y, name):
            return y if name is None else rms_norm(y, w[f"{at}{name}.weight"], spec)

        x = x + spec.residual_scale * norm(attention(w, at + "self_attn.", norm(x, spec.attention_in), spec, layer), spec.attention_out)
        x = x + spec.residual_scale * norm(mlp(w, at + "mlp.", norm(x, spec.mlp_in), spec, layer), spec.mlp_out)
    head = w["model.embed_tokens.weight" if spec.is_tied else "lm_head.weight"]
    return cap(rms_norm(x, w["model.norm.weight"], spec) @ head.T / spec.logit_divisor, spec.logit_cap)


def logits_so_far(w, spec, ids):
    """[T, V], after each position those of the tokens up to it: with longrope, those within the original context are of a sequence of its length."""
    scalings = [rope.scaling for rope in spec.ropes if rope is not None and rope.scaling is not None]
    original = min((s["original_max_position_embeddings"] for s in scalings if s["rope_type"] == "longrope"), default=len(ids))
    whole = logits(w, spec, ids)
    return whole if original >= len(ids) else torch.cat([logits(w, spec, ids[:original]), whole[original:]])


# The weights

def tensors(spec):
    """Name, shape, center and spread of every tensor of the checkpoint, in the order in which they are numbered."""
    e, inner, d = spec.hidden, spec.inner, spec.head_dim
    widths = {"q": spec.heads * d, "k": spec.kv_heads * d, "v": spec.kv_heads * d}

    def matrix(name, rows, columns, spread=0.25):
        return name + ".weight", (rows, columns), 0, spread

    def norm(name, width, size=1):
        return name + ".weight", (width,), size - spec.norm_offset, size / 2

    yield matrix("model.embed_tokens", spec.vocab, e, 0.25 / spec.fading)
    for layer in range(len(spec.windows)):
        p = f"model.layers.{layer}."
        for name in (spec.attention_in, spec.attention_out, spec.mlp_in, spec.mlp_out):
            if name is not None:
                yield norm(p + name, e)
        if spec.is_fused:
            yield matrix(p + "self_attn.qkv_proj", sum(widths.values()), e, 0.25 * spec.sharpness)
        for name, width in () if spec.is_fused else widths.items():
            is_normed = name != "v" and spec.qk_norm is not None
            yield matrix(f"{p}self_attn.{name}_proj", width, e, 0.25 * (1 if name == "v" or is_normed else spec.sharpness))
            if spec.has_biases:
                yield f"{p}self_attn.{name}_proj.bias", (width,), 0, 0.5
            if is_normed:
                yield norm(f"{p}self_attn.{name}_norm", d if spec.qk_norm == "head" else width, spec.sharpness)
        yield matrix(p + "self_attn.o_proj", e, widths["q"])
        if spec.has_output_bias:
            yield p + "self_attn.o_proj.bias", (e,), 0, 0.5
        if spec.has_sinks:
            yield p + "self_attn.sinks", (spec.heads,), 0, 4
        if spec.is_stacked:
            at, count, width = p + "mlp.", spec.experts, spec.expert_inner
            yield matrix(at + "router", count, e)
            yield at + "router.bias", (count,), 0, 1
            for name, rows, columns in (("gate_up", e, 2 * width), ("down", width, e)):
                yield f"{at}experts.{name}_proj", (count, rows, columns), 0, 0.25
                yield f"{at}experts.{name}_proj_bias", (count, columns), 0, 0.5
            continue
        if spec.experts > 0 and layer not in spec.dense_layers:
            yield matrix(p + "mlp.gate", spec.experts, e)
            for at in (f"{p}mlp.experts.{i}." for i in range(spec.experts)):
                for name, rows, columns in (("gate", spec.expert_inner, e), ("up", spec.expert_inner, e), ("down", e, spec.expert_inner)):
                    yield matrix(f"{at}{name}_proj", rows, columns)
            continue
        gates = (("gate_up", 2 * inner, e),) if spec.is_fused else (("gate", inner, e), ("up", inner, e))
        for name, rows, columns in (*gates, ("down", e, inner)):
            yield matrix(f"{p}mlp.{name}_proj", rows, columns)
            if spec.has_mlp_biases:
                yield f"{p}mlp.{name}_proj.bias", (rows,), 0, 0.5
    yield norm("model.norm", e, spec.fading)
    if not spec.is_tied:
        yield matrix("lm_head", spec.vocab, e)


def hashes(count, number):
    """The finalizer of MurmurHash3."""
    h = np.arange(count, dtype=np.uint32) + np.uint32(number << 20)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def hashed(number, shape, center, spread):
    """Evenly in [center - spread, center + spread), on 2^11 values around 0 and 2^10 around others, which f16 holds exactly."""
    bits = 11 if center == 0 else 10
    unit = (hashes(math.prod(shape), number) >> np.uint32(32 - bits)).astype(np.float64) / 2 ** (bits - 1) - 1
    values = torch.from_numpy((center + spread * unit).reshape(shape))
    assert torch.equal(values.half().double(), values), f"a center of {center} and a spread of {spread} are not exact in f16"
    return values


# The families: each reads its config.json, and names what switching off each of its quirks replaces

def dense(c, **quirks):
    """What all configurations say alike."""
    layers, heads = c["num_hidden_layers"], c["num_attention_heads"]
    d = c.get("head_dim", c["hidden_size"] // heads)
    rope = Rope(c["rope_theta"], c.get("rope_scaling"))
    spec = Spec(
        hidden=c["hidden_size"], inner=c["intermediate_size"], heads=heads, kv_heads=c["num_key_value_heads"], head_dim=d, vocab=c["vocab_size"],
        eps=c["rms_norm_eps"], windows=(None,) * layers, ropes=(rope,) * layers, scale=d**-0.5, is_tied=c["tie_word_embeddings"],
    )
    return replace(spec, **quirks)


def everywhere(spec, **rope):
    """The spec with another rope in all layers."""
    return {"ropes": tuple(each and replace(each, **rope) for each in spec.ropes)}


def llama(c):
    """Llama 3.1, arXiv:2407.21783; its configuration has switches for biases, which some checkpoints of other makers use."""
    attention_bias, mlp_bias = c["attention_bias"], c["mlp_bias"]
    spec = dense(c, sharpness=2, has_biases=attention_bias, has_output_bias=attention_bias, has_mlp_biases=mlp_bias)
    off = {}
    if attention_bias:
        off |= {"biases of q, k and v": {"has_biases": False}, "bias of o": {"has_output_bias": False}}
    if mlp_bias:
        off["biases of the MLP"] = {"has_mlp_biases": False}
    if spec.ropes[0].scaling is not None:
        off["rope scaling"] = everywhere(spec, scaling=None)
    return spec, off


def qwen2(c):
    """Qwen2, arXiv:2407.10671; where windows are in use, the first layers read all."""
    layers, window = c["num_hidden_layers"], c["sliding_window"]
    first = c["max_window_layers"] if c["use_sliding_window"] else layers
    windows = tuple(window if i >= first else None for i in range(layers))
    spec = dense(c, has_biases=True, windows=windows, sharpness=2)
    off = {"biases": {"has_biases": False}}
    if c["use_sliding_window"]:
        off["windows"] = {"windows": (None,) * layers}
        off["full layers"] = {"windows": (window,) * layers}
        off["order of windows"] = {"windows": windows[::-1]}
    return spec, off


def qwen3(c):
    """Qwen3, arXiv:2505.09388."""
    return dense(c, qk_norm="head", sharpness=2, fading=4), {"head norms": {"qk_norm": None}}


def ministral(c):
    """Ministral: Mistral with the layers with a window named."""
    window = c["sliding_window"]
    windows = tuple(window if kind == "sliding_attention" else None for kind in c["layer_types"])
    spec = dense(c, windows=windows, sharpness=2)
    return spec, {
        "windows": {"windows": (None,) * len(windows)}, "full layers": {"windows": (window,) * len(windows)},
        "order of windows": {"windows": windows[::-1]},
    }


def ministral3(c):
    """Ministral 3: YaRN, and queries that grow with their positions as Llama 4's."""
    rope = c["rope_parameters"]
    growth = rope["llama_4_scaling_beta"], rope["original_max_position_embeddings"]
    spec = dense({**c, "rope_theta": rope["rope_theta"], "rope_scaling": rope}, sharpness=2, query_growth=growth)
    return spec, {
        "growth of queries": {"query_growth": None}, "steps of growth": {"query_growth": (growth[0], growth[1] // 2)},
        "rope scaling": everywhere(spec, scaling=None),
        "attention factor of 1": everywhere(spec, scaling={key: value for key, value in rope.items() if not key.startswith("mscale")}),
    }


def mistral(c):
    """Mistral 7B, arXiv:2310.06825."""
    window, layers = c["sliding_window"], c["num_hidden_layers"]
    spec = dense(c, windows=(window,) * layers, sharpness=2)
    off = {} if window is None else {
        "window": {"windows": (None,) * layers},
        "window's end": {"windows": (window + 1,) * layers},
    }
    if spec.ropes[0].scaling is not None:
        scaling = spec.ropes[0].scaling
        off["rope scaling"] = everywhere(spec, scaling=None)
        off["interpolation by parts"] = everywhere(spec, scaling={**scaling, "beta_fast": 1e9, "beta_slow": 5e8})
        off["attention temperature"] = {"scale": spec.scale / (0.1 * math.log(scaling["factor"]) + 1) ** 2}
    return spec, off


def gemma2(c):
    """Gemma 2, arXiv:2408.00118: every other layer, from the first, reads a window."""
    window, layers = c["sliding_window"], c["num_hidden_layers"]
    spec = dense(
        c, windows=tuple(window if i % 2 == 0 else None for i in range(layers)), scale=c["query_pre_attn_scalar"] ** -0.5, is_tied=True,
        attention_out="post_attention_layernorm", mlp_in="pre_feedforward_layernorm", mlp_out="post_feedforward_layernorm", norm_offset=1,
        attention_cap=c["attn_logit_softcapping"], logit_cap=c["final_logit_softcapping"], embed_scale=math.sqrt(c["hidden_size"]),
        activation="gelu_tanh", sharpness=2, fading=4,
    )
    return spec, {
        "windows": {"windows": (None,) * layers},
        "full layers": {"windows": (window,) * layers},
        "order of windows": {"windows": spec.windows[1:] + spec.windows[:1]},
        "window's end": {"windows": tuple(each and each + 1 for each in spec.windows)},
        "attention cap": {"attention_cap": None},
        "logit cap": {"logit_cap": None},
        "query scale": {"scale": spec.head_dim**-0.5},
        "norms after": {"attention_out": None, "mlp_out": None},
        "norm offset": {"norm_offset": 0},
        "embedding scale": {"embed_scale": 1},
        "GELU": {"activation": "silu"},
    }


def gemma3(c):
    """Gemma 3, arXiv:2503.19786: five layers of windows with a rope of their own, then a full one."""
    window, layers = c["sliding_window"], c["num_hidden_layers"]
    windows = tuple(window if (i + 1) % c["sliding_window_pattern"] else None for i in range(layers))
    full, local = Rope(c["rope_theta"], c["rope_scaling"]), Rope(c["rope_local_base_freq"])
    spec = dense(
        c, windows=windows, ropes=tuple(full if each is None else local for each in windows), scale=c["query_pre_attn_scalar"] ** -0.5, is_tied=True,
        attention_out="post_attention_layernorm", mlp_in="pre_feedforward_layernorm", mlp_out="post_feedforward_layernorm", norm_offset=1,
        qk_norm="head", embed_scale=math.sqrt(c["hidden_size"]), activation="gelu_tanh", fading=4,
    )
    return spec, {
        "windows": {"windows": (None,) * layers},
        "full layer": {"windows": (window,) * layers},
        "window's end": {"windows": tuple(each and each + 1 for each in windows)},
        "local rope": {"ropes": (full,) * layers},
        "global rope": {"ropes": (local,) * layers},
        "rope scaling": everywhere(spec, scaling=None),
        "query scale": {"scale": spec.head_dim**-0.5},
        "head norms": {"qk_norm": None},
        "norms after": {"attention_out": None, "mlp_out": None},
        "embedding scale": {"embed_scale": 1},
        "GELU": {"activation": "silu"},
    }


def olmo2(c):
    """OLMo 2, arXiv:2501.00656: norms after, and over whole projections of queries and keys."""
    spec = dense(c, attention_in=None, attention_out="post_attention_layernorm", mlp_in=None, mlp_out="post_feedforward_layernorm", qk_norm="projection", sharpness=2)
    return spec, {
        "norms after": {"attention_out": None, "mlp_out": None},
        "norms before": {"attention_in": spec.attention_out, "attention_out": None, "mlp_in": spec.mlp_out, "mlp_out": None},
        "norms of q and k": {"qk_norm": None},
        "whole projections": {"qk_norm": "head"},
    }


def phi3(c):
    """Phi-3, arXiv:2404.14219, and Phi-4-mini, arXiv:2503.01743, which rotates a part of each head."""
    window, layers, share = c["sliding_window"], c["num_hidden_layers"], c.get("partial_rotary_factor", 1)
    spec = dense(c, windows=(window,) * layers, is_fused=True, sharpness=2, fading=4 if c["tie_word_embeddings"] else 1)
    off = {"gates first": {"gates_first": False}}
    if share != 1:
        off["partial rotary"] = {}
    if window is not None:
        off |= {"window": {"windows": (None,) * layers}, "window's end": {"windows": (window + 1,) * layers}}
    scaling = c.get("rope_scaling")
    if scaling is not None:
        lengths = {name: c[name] for name in ("max_position_embeddings", "original_max_position_embeddings")}
        scaling = {**scaling, **lengths}
        no_stretch = {**scaling, "max_position_embeddings": c["original_max_position_embeddings"]}
        off |= {"rope scaling": {"scaling": None}, "short factors": {"scaling": {**scaling, "short_factor": scaling["long_factor"]}}}
        off["attention factor"] = {"scaling": no_stretch}
        if c["original_max_position_embeddings"] < NUM_PROMPT_TOKENS:
            off["long factors"] = {"scaling": {**scaling, "long_factor": scaling["short_factor"]}}
    spec = replace(spec, **everywhere(spec, scaling=scaling, share=share))
    for quirk, change in off.items():
        if quirk == "partial rotary":
            off[quirk] = everywhere(spec, share=1, scaling=None)
        elif "scaling" in change:
            off[quirk] = everywhere(spec, **change)
    return spec, off


def olmo3(c):
    """OLMo 3, arXiv:2512.13961: OLMo 2 with three layers of windows, then a full one, and YaRN in the full ones alone."""
    spec, off = olmo2(c)
    window, layers = c["sliding_window"], len(spec.windows)
    windows = tuple(window if kind == "sliding_attention" else None for kind in c["layer_types"])
    full, local = Rope(c["rope_theta"], c.get("rope_scaling")), Rope(c["rope_theta"])
    spec = replace(spec, windows=windows, ropes=tuple(full if each is None else local for each in windows))
    off |= {
        "windows": {"windows": (None,) * layers},
        "full layers": {"windows": (window,) * layers},
        "order of windows": {"windows": windows[-1:] + windows[:-1]},
        "window's end": {"windows": tuple(each and each + 1 for each in windows)},
    }
    if full.scaling is not None:
        off |= {"rope scaling": everywhere(spec, scaling=None), "plain rope of windows": {"ropes": (full,) * layers}}
    return spec, off


def smollm3(c):
    """SmolLM3 (Bakouch 2025, huggingface.co/blog/smollm3): some layers without rope, after Yang 2025, arXiv:2501.18795."""
    spec = dense(c, sharpness=2, fading=4)
    rope, none = spec.ropes[0], [not rotates for rotates in c["no_rope_layers"]]
    ropes = tuple(None if is_none else rope for is_none in none)
    return replace(spec, ropes=ropes), {
        "rope": {"ropes": (None,) * len(none)},
        "layers without rope": {"ropes": (rope,) * len(none)},
        "order of layers": {"ropes": ropes[::-1]},
        "rope base": {"ropes": tuple(each and Rope(10000.0) for each in ropes)},
    }


def granite(c):
    """Granite 3 (IBM 2024, github.com/ibm-granite/granite-3.0-language-models): Llama with a multiplier in four places."""
    spec = dense(
        c, scale=c["attention_multiplier"], embed_scale=c["embedding_multiplier"], residual_scale=c["residual_multiplier"], logit_divisor=c["logits_scaling"],
        sharpness=2, fading=4,
    )
    return spec, {
        "attention multiplier": {"scale": spec.head_dim**-0.5},
        "embedding multiplier": {"embed_scale": 1},
        "residual multiplier": {"residual_scale": 1},
        "logits scaling": {"logit_divisor": 1},
        "division by logits scaling": {"logit_divisor": 1 / spec.logit_divisor},
    }


def experts(c, inner):
    return {"experts": c["num_experts"], "top_k": c["num_experts_per_tok"], "expert_inner": inner, "normalizes_weights": c["norm_topk_prob"]}


def without_choice(spec):
    return {
        "weights that add up to 1, or do not": {"normalizes_weights": not spec.normalizes_weights},
        "the last expert": {"top_k": spec.top_k - 1},
        "a choice": {"top_k": spec.experts},
    }


def qwen3_moe(c):
    """Qwen3's models with experts, arXiv:2505.09388."""
    spec, off = qwen3(c)
    spec = replace(spec, **experts(c, c["moe_intermediate_size"]), dense_layers=tuple(c["mlp_only_layers"]))
    return spec, off | without_choice(spec)


def olmoe(c):
    """OLMoE, arXiv:2409.02060: norms before, and over whole projections of queries and keys."""
    spec = dense(c, qk_norm="projection", sharpness=2, fading=4, **experts(c, c["intermediate_size"]))
    return spec, {"norms of q and k": {"qk_norm": None}, "whole projections": {"qk_norm": "head"}, **without_choice(spec)}


def gpt_oss(c):
    """gpt-oss, arXiv:2508.10925: windows in every other layer, sinks, biases, and experts whose gates and ups are clamped."""
    window, layers = c["sliding_window"], c["num_hidden_layers"]
    windows = tuple(window if kind == "sliding_attention" else None for kind in c["layer_types"])
    spec = dense(
        c, windows=windows, has_biases=True, has_output_bias=True, has_sinks=True, is_stacked=True, experts=c["num_local_experts"],
        top_k=c["num_experts_per_tok"], expert_inner=c["intermediate_size"], has_router_bias=True, has_expert_biases=True, clamp=c["swiglu_limit"],
        sharpness=2,
    )
    scaling = c["rope_scaling"]
    return spec, {
        "windows": {"windows": (None,) * layers},
        "full layers": {"windows": (window,) * layers},
        "window's end": {"windows": tuple(each and each + 1 for each in windows)},
        "rope scaling": everywhere(spec, scaling=None),
        "a ramp between fractions": everywhere(spec, scaling={**scaling, "truncate": True}),
        "biases of q, k and v": {"has_biases": False},
        "bias of o": {"has_output_bias": False},
        "sinks": {"has_sinks": False},
        "bias of the router": {"has_router_bias": False},
        "biases of experts": {"has_expert_biases": False},
        "gates before their ups": {"gates_alternate": False},
        "clamps": {"clamp": math.inf},
        "swish of 1.702": {"swish": 1},
        "ups moved by one": {"up_addend": 0},
        **without_choice(spec),
    }


FAMILIES = {"llama": llama, "qwen2": qwen2, "qwen3": qwen3, "mistral": mistral, "ministral": ministral, "ministral3": ministral3, "gemma2": gemma2, "gemma3_text": gemma3, "olmo2": olmo2, "olmo3": olmo3, "smollm3": smollm3, "granite": granite, "phi3": phi3, "qwen3_moe": qwen3_moe, "olmoe": olmoe, "gpt_oss": gpt_oss}


# The cases

def config(model_type, hidden, layers, heads, head_dim, **others):
    return {
        "model_type": model_type, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads[0], "num_key_value_heads": heads[1],
        "head_dim": head_dim, "intermediate_size": 2 * hidden, "vocab_size": 96, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": False, **others,
    }


GEMMA = {"tie_word_embeddings": True, "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False}

# Name, seed of the prompt, config.json.
CASES = [
    ("llama", 8, config(
        "llama", 64, 3, (5, 1), 32, rms_norm_eps=1e-5, rope_theta=500000.0, hidden_act="silu", attention_bias=False, mlp_bias=False,
        rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    )),
    ("llama with biases", 16, config("llama", 48, 2, (3, 1), 16, hidden_act="silu", attention_bias=True, rope_scaling={"rope_type": "linear", "factor": 4.0}, mlp_bias=True)),
    ("llama with YaRN", 15, config(
        "llama", 48, 2, (4, 2), 12, hidden_act="silu", attention_bias=False, mlp_bias=False, tie_word_embeddings=True,
        rope_scaling={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, "beta_fast": 16.0, "beta_slow": 2.0},
    )),
    ("qwen2", 8, config(
        "qwen2", 48, 3, (6, 2), 16, rope_theta=1000000.0, hidden_act="silu", use_sliding_window=False, sliding_window=64, max_window_layers=3,
    )),
    ("qwen2 with windows", 11, config(
        "qwen2", 48, 4, (3, 1), 16, rope_theta=1000000.0, hidden_act="silu", use_sliding_window=True, sliding_window=34, max_window_layers=1,
    )),
    ("qwen3", 10, config(
        "qwen3", 48, 3, (3, 3), 32, rope_theta=1000000.0, hidden_act="silu", attention_bias=False, use_sliding_window=False, tie_word_embeddings=True,
    )),
    ("mistral", 5, config("mistral", 64, 3, (6, 2), 16, rms_norm_eps=1e-5, hidden_act="silu", sliding_window=28)),
    ("mistral with YaRN", 9, config(
        "mistral", 48, 3, (3, 1), 32, rms_norm_eps=1e-5, hidden_act="silu", sliding_window=None, rope_theta=1000000.0,
        rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 8.0, "beta_slow": 1.0},
    )),
    ("ministral", 9, config(
        "ministral", 64, 4, (6, 2), 16, hidden_act="silu", sliding_window=28,
        layer_types=["full_attention", "sliding_attention", "sliding_attention", "sliding_attention"],
    )),
    ("ministral3", 5, config(
        "ministral3", 48, 3, (3, 1), 32, rms_norm_eps=1e-5, hidden_act="silu", sliding_window=None, tie_word_embeddings=False,
        rope_parameters={
            "type": "yarn", "rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0, "original_max_position_embeddings": 48, "beta_fast": 8.0,
            "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.5,
        },
    )),
    ("gemma2", 13, config(
        "gemma2", 72, 4, (6, 2), 16, sliding_window=26, query_pre_attn_scalar=24, attn_logit_softcapping=12.0, final_logit_softcapping=5.0, **GEMMA,
    )),
    ("gemma3_text", 2, config(
        "gemma3_text", 56, 7, (5, 1), 16, sliding_window=37, sliding_window_pattern=6, query_pre_attn_scalar=4, rope_theta=1000000.0,
        rope_local_base_freq=10000.0, rope_scaling={"rope_type": "linear", "factor": 8.0}, **GEMMA,
    )),
    ("olmo2", 8, config("olmo2", 64, 3, (3, 3), 32, rope_theta=500000.0, hidden_act="silu", attention_bias=False)),
    ("smollm3", 4, config(
        "smollm3", 48, 5, (6, 2), 16, rope_theta=5000000.0, hidden_act="silu", attention_bias=False, mlp_bias=False, tie_word_embeddings=True,
        no_rope_layer_interval=4, no_rope_layers=[1, 1, 1, 0, 1],
    )),
    ("granite", 4, config(
        "granite", 72, 3, (6, 3), 12, rms_norm_eps=1e-5, hidden_act="silu", attention_bias=False, mlp_bias=False, tie_word_embeddings=True,
        attention_multiplier=0.171875, embedding_multiplier=5.5, residual_multiplier=0.34, logits_scaling=1.5,
    )),
    ("olmo3", 14, config(
        "olmo3", 48, 5, (3, 3), 16, rope_theta=500000.0, hidden_act="silu", attention_bias=False, sliding_window=30,
        layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        rope_scaling={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, "beta_fast": 32.0, "beta_slow": 1.0},
    )),
    ("phi3", 2, config("phi3", 72, 3, (6, 2), 12, rms_norm_eps=1e-5, hidden_act="silu", sliding_window=31)),
    ("phi3 growing beyond its original context", 1, config(
        "phi3", 48, 3, (3, 1), 16, rms_norm_eps=1e-5, hidden_act="silu", sliding_window=None, partial_rotary_factor=0.75, tie_word_embeddings=True,
        max_position_embeddings=4096, original_max_position_embeddings=208,
        rope_scaling={
            "rope_type": "longrope", "short_factor": [1.0, 1.05, 1.25, 1.5, 2.5, 3.0], "long_factor": [1.0, 1.5, 4.0, 12.0, 20.0, 32.0],
        },
    )),
    ("phi3 beyond its original context", 9, config(
        "phi3", 48, 3, (3, 1), 16, rms_norm_eps=1e-5, hidden_act="silu", sliding_window=None, partial_rotary_factor=0.75, tie_word_embeddings=True,
        max_position_embeddings=4096, original_max_position_embeddings=150,
        rope_scaling={
            "rope_type": "longrope", "short_factor": [1.0, 1.05, 1.25, 1.5, 2.5, 3.0], "long_factor": [1.0, 1.5, 4.0, 12.0, 20.0, 32.0],
        },
    )),
    ("qwen3_moe", 2, config(
        "qwen3_moe", 48, 3, (3, 1), 16, rope_theta=1000000.0, hidden_act="silu", attention_bias=False, use_sliding_window=False, num_experts=8,
        num_experts_per_tok=2, moe_intermediate_size=40, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[1], tie_word_embeddings=True,
    )),
    ("olmoe", 21, config(
        "olmoe", 48, 3, (3, 3), 16, rms_norm_eps=1e-5, hidden_act="silu", attention_bias=False, clip_qkv=None, intermediate_size=36, num_experts=8,
        num_experts_per_tok=3, norm_topk_prob=False, tie_word_embeddings=True,
    )),
    ("gpt_oss", 11, config(
        "gpt_oss", 48, 4, (6, 2), 16, rms_norm_eps=1e-5, hidden_act="silu", attention_bias=True, intermediate_size=28, num_local_experts=8,
        num_experts_per_tok=3, swiglu_limit=1.5, sliding_window=27, rope_theta=150000.0,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        rope_scaling={
            "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False,
        },
    )),
]


def continue_greedily(w, spec, prompt):
    """Greedy tokens, and how much larger than the next logit each one's was at least."""
    tokens, margin = [], math.inf
    for _ in range(NUM_TOKENS):
        best = logits(w, spec, prompt + tokens)[-1].topk(2)
        tokens.append(int(best.indices[0]))
        margin = min(margin, float(best.values[0] - best.values[1]))
    return tokens, margin


def effects(w, spec, prompt, off):
    """By how much a logit changes at most, without each quirk."""
    whole = logits_so_far(w, spec, prompt)
    return {quirk: float((logits_so_far(w, replace(spec, **change), prompt) - whole).abs().max()) for quirk, change in off.items()}


def weights_of(spec):
    return {tensor: hashed(i, *rest) for i, (tensor, *rest) in enumerate(tensors(spec))}


def prompt_of(spec, seed):
    return [int(h) % spec.vocab for h in hashes(NUM_PROMPT_TOKENS, 4095 - seed)]


def try_seeds(c, count):
    """The closest call and the number of different tokens after the prompt of each seed."""
    spec, _ = FAMILIES[c["model_type"]](c)
    w = weights_of(spec)
    tried = []
    for seed in range(1, count + 1):
        tokens, margin = continue_greedily(w, spec, prompt_of(spec, seed))
        tried.append((round(margin, 4), len(set(tokens)), seed))
    for margin, distinct, seed in sorted(tried, reverse=True):
        print(f"seed {seed}: margin {margin}, {distinct} different tokens")


def compute(name, seed, c):
    spec, off = FAMILIES[c["model_type"]](c)
    numbered, w, prompt = list(tensors(spec)), weights_of(spec), prompt_of(spec, seed)
    whole = logits_so_far(w, spec, prompt)
    error = float((logits_so_far({key: x.float() for key, x in w.items()}, spec, prompt) - whole).abs().max())
    tokens, margin = continue_greedily(w, spec, prompt)
    figures = {
        "effects": effects(w, spec, prompt, off), "margin": margin, "distinct": len(set(tokens)), "largest": float(whole.abs().max()),
        "float32 error": error,
    }
    steps = (whole * STEPS_PER_UNIT).round().numpy()
    golden = {
        "name": name, "config": c, "tensors": [[tensor, list(shape), center, spread] for tensor, shape, center, spread in numbered],
        "prompt": prompt, "tokens": tokens, "least_margin": round(margin, 4), "steps_per_unit": STEPS_PER_UNIT,
        "logits": base64.b64encode(steps.astype("<i2").tobytes()).decode(),
    }
    return figures, golden


def check(name, figures):
    weak = [quirk for quirk, effect in figures["effects"].items() if not effect > MIN_EFFECT]
    assert not weak, f"{name}: switching off {weak} changes next to nothing: {figures['effects']}"
    assert figures["margin"] > MIN_MARGIN, f"{name}: the closest call is {figures['margin']}"
    assert figures["distinct"] >= MIN_DISTINCT, f"{name}: {figures['distinct']} different tokens"
    assert figures["largest"] * STEPS_PER_UNIT < 2**15, f"{name}: a logit of {figures['largest']}"
    assert figures["float32 error"] < MAX_FLOAT32_ERROR, f"{name}: float32 is off by {figures['float32 error']}"


def main(args):
    torch.set_num_threads(1)
    if args:
        (name, seed, c), = (case for case in CASES if case[0] == args[0])
        if len(args) > 1:
            try_seeds(c, int(args[1]))
        else:
            print(json.dumps(compute(name, seed, c)[0], indent=1))
        return
    lines = []
    for name, seed, c in CASES:
        figures, golden = compute(name, seed, c)
        check(name, figures)
        lines.append(json.dumps(golden))
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main(sys.argv[1:])
