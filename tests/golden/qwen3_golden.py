"""Greedy tokens of a small Qwen3 with made-up weights, by the formulas of its paper in numpy's f64.

    python3 qwen3_golden.py > qwen3_golden.json   (numpy 2)

No outside weights: element i of a tensor is a hash of i and the tensor's number, exact in f16. tests/support/hashed_checkpoint.ts makes the same.
"""
import json
import sys

import numpy as np

CONFIG = {
    "model_type": "qwen3",
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 96,
    "vocab_size": 256,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "use_sliding_window": False,
}
NUM_TOKENS = 32
PROMPTS = [[7], [3, 141, 59, 26, 53, 58, 97, 93, 23, 84], [(37 * i * i + 11 * i + 5) % 256 for i in range(41)]]


def shapes(c):
    """Every tensor of the checkpoint, in the order in which they are numbered."""
    e, d = c["hidden_size"], c["head_dim"]
    q, k, inner = c["num_attention_heads"] * d, c["num_key_value_heads"] * d, c["intermediate_size"]
    yield "model.embed_tokens.weight", (c["vocab_size"], e)
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        yield p + "input_layernorm.weight", (e,)
        yield p + "self_attn.q_proj.weight", (q, e)
        yield p + "self_attn.k_proj.weight", (k, e)
        yield p + "self_attn.v_proj.weight", (k, e)
        yield p + "self_attn.q_norm.weight", (d,)
        yield p + "self_attn.k_norm.weight", (d,)
        yield p + "self_attn.o_proj.weight", (e, q)
        yield p + "post_attention_layernorm.weight", (e,)
        yield p + "mlp.gate_proj.weight", (inner, e)
        yield p + "mlp.up_proj.weight", (inner, e)
        yield p + "mlp.down_proj.weight", (e, inner)
    yield "model.norm.weight", (e,)


def hashed(number, shape):
    """Multiples of 2^-12 in [-1/4, 1/4), by the finalizer of MurmurHash3; of vectors, 2^-10 in [0.5, 1.5)."""
    h = np.arange(int(np.prod(shape)), dtype=np.uint32) + np.uint32(number << 20)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    if len(shape) == 1:
        return 1 + ((h >> np.uint32(22)).astype(np.float64) - 512) / 1024
    return (((h >> np.uint32(21)).astype(np.float64) - 1024) / 4096).reshape(shape)


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, theta):
    """x [T, heads, D]: dims (i, i + D/2) turned by position / theta^(2i / D)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None] * theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def logits(w, c, ids):
    """Of the last position."""
    heads, groups, d, eps = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["rms_norm_eps"]
    n = len(ids)
    x = w["model.embed_tokens.weight"][ids]
    causal = np.tril(np.ones((n, n), bool))
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        y = rms_norm(x, w[p + "input_layernorm.weight"], eps)
        q = (y @ w[p + "self_attn.q_proj.weight"].T).reshape(n, heads, d)
        k = (y @ w[p + "self_attn.k_proj.weight"].T).reshape(n, groups, d)
        v = (y @ w[p + "self_attn.v_proj.weight"].T).reshape(n, groups, d)
        q = rotate(rms_norm(q, w[p + "self_attn.q_norm.weight"], eps), c["rope_theta"])
        k = rotate(rms_norm(k, w[p + "self_attn.k_norm.weight"], eps), c["rope_theta"])
        k, v = (np.repeat(z, heads // groups, axis=1) for z in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(d)
        scores = np.where(causal, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", weights, v).reshape(n, heads * d)
        x = x + attended @ w[p + "self_attn.o_proj.weight"].T
        y = rms_norm(x, w[p + "post_attention_layernorm.weight"], eps)
        gate = y @ w[p + "mlp.gate_proj.weight"].T
        up = y @ w[p + "mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[p + "mlp.down_proj.weight"].T
    return rms_norm(x[-1], w["model.norm.weight"], eps) @ w["model.embed_tokens.weight"].T


def generate(w, c, prompt):
    """Greedy tokens, their log-probabilities, and how much likelier than the next each was."""
    tokens, logprobs, margins = [], [], []
    for _ in range(NUM_TOKENS):
        row = logits(w, c, prompt + tokens)
        row -= row.max() + np.log(np.exp(row - row.max()).sum())
        second, best = np.argsort(row)[-2:]
        tokens.append(int(best))
        logprobs.append(round(float(row[best]), 6))
        margins.append(float(row[best] - row[second]))
    return {"prompt": prompt, "tokens": tokens, "logprobs": logprobs, "least_margin": round(min(margins), 6)}


weights = {name: hashed(i, shape) for i, (name, shape) in enumerate(shapes(CONFIG))}
cases = [generate(weights, CONFIG, prompt) for prompt in PROMPTS]
tensors = [[name, list(shape)] for name, shape in shapes(CONFIG)]
json.dump({"config": CONFIG, "tensors": tensors, "cases": cases}, sys.stdout)
print()
