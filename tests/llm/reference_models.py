"""GPT and nGPT position by position, head by head, in double precision, without torch.

Sources: for GPT those that its module names; for nGPT, I. Loshchilov et al., nGPT, ICLR 2025
(arXiv:2410.01131), Section 2. Weights come by their names; a matrix is (outputs, inputs), the rows
of `qkv` are the heads of q, of k, of v, those of `up` are u, then the gate.
"""

from __future__ import annotations

import math

import numpy as np


def softmax(x):
    e = [math.exp(value - max(x)) for value in x]
    return [value / sum(e) for value in e]


def silu(x):
    return x / (1 + np.exp(-x))


def rms_norm(x, gain):
    return x / math.sqrt(sum(x * x) / len(x) + 1e-6) * gain


def unit(x):
    return x / math.sqrt(sum(x * x))


def turned(x, position, base):
    """RoFormer: the pair (2 i, 2 i + 1) is turned by position * base^(-2 i / head_dim)."""
    y = np.empty_like(x)
    for i in range(0, len(x), 2):
        angle = position * base ** (-i / len(x))
        y[i] = x[i] * math.cos(angle) - x[i + 1] * math.sin(angle)
        y[i + 1] = x[i] * math.sin(angle) + x[i + 1] * math.cos(angle)
    return y


def heads_of(matrix, x, count, first, head_dim):
    return [matrix[(first + i) * head_dim : (first + i + 1) * head_dim] @ x for i in range(count)]


def attention(queries, keys, values, scale):
    """queries: [position][head]; keys, values: [position][kv_head]. Returns [position] vectors."""
    outputs = []
    for t, heads in enumerate(queries):
        output = []
        for i, q in enumerate(heads):
            j = i * len(keys[0]) // len(heads)
            share = softmax([scale * float(q @ keys[s][j]) for s in range(t + 1)])
            output.append(sum(share[s] * values[s][j] for s in range(t + 1)))
        outputs.append(np.concatenate(output))
    return outputs


def gpt(w, tokens, s):
    """Logits (length, vocabulary). w: weights by name; s: the settings, read by their names."""
    kv_heads, d_k = s.kv_heads or s.heads, s.dim // s.heads
    h = [w["embedding.weight"][token] for token in tokens]
    for layer in range(s.layers):
        b = {
            name.split(".", 2)[2]: v for name, v in w.items() if name.startswith(f"blocks.{layer}.")
        }
        queries, keys, values = [], [], []
        for t in range(len(tokens)):
            x = rms_norm(h[t], b["attention_norm.weight"])
            matrix = b["attention.qkv.weight"]
            q = heads_of(matrix, x, s.heads, 0, d_k)
            k = heads_of(matrix, x, kv_heads, s.heads, d_k)
            if s.qk_norm:
                q = [rms_norm(one, b["attention.q_norm.weight"]) for one in q]
                k = [rms_norm(one, b["attention.k_norm.weight"]) for one in k]
            queries.append([turned(one, t, s.rope_base) for one in q])
            keys.append([turned(one, t, s.rope_base) for one in k])
            values.append(heads_of(matrix, x, kv_heads, s.heads + kv_heads, d_k))
        y = attention(queries, keys, values, s.attention_scale / math.sqrt(d_k))
        for t in range(len(tokens)):
            h[t] = h[t] + s.residual_scale * (b["attention.out.weight"] @ y[t])
            u, gate = np.split(b["mlp.up.weight"] @ rms_norm(h[t], b["mlp_norm.weight"]), 2)
            h[t] = h[t] + s.residual_scale * (b["mlp.down.weight"] @ (u * silu(gate)))
    logits = [w["head.weight"] @ rms_norm(x, w["norm.weight"]) * s.logit_scale for x in h]
    if s.logit_cap is not None:
        logits = [s.logit_cap * np.tanh(x / s.logit_cap) for x in logits]
    return np.array(logits)


def ngpt(w, tokens, s):
    """Logits (length, vocabulary), otherwise as `gpt`."""
    d, d_k = s.dim, s.dim // s.heads
    scale = {"alpha": s.alpha_scale, "s_qk": s.s_qk_scale, "s_z": s.s_z_scale}
    scale = {name: 1 / math.sqrt(d) if value is None else value for name, value in scale.items()}
    h = [w["embedding.weight"][token] for token in tokens]
    for layer in range(s.layers):
        b = {
            name.split(".", 2)[2]: v for name, v in w.items() if name.startswith(f"blocks.{layer}.")
        }
        alpha_a = abs(b["attention_alpha.weight"] * s.alpha_init / scale["alpha"])
        alpha_m = abs(b["mlp_alpha.weight"] * s.alpha_init / scale["alpha"])
        s_qk = np.split(b["attention.s_qk.weight"] * s.s_qk_init / scale["s_qk"], s.heads)
        s_u = b["mlp.s_u.weight"] * s.s_uv_init / s.s_uv_scale
        s_v = b["mlp.s_v.weight"] * s.s_uv_init / s.s_uv_scale
        queries, keys, values = [], [], []
        for t in range(len(tokens)):
            matrix = b["attention.qkv.weight"]
            q = [turned(x, t, s.rope_base) for x in heads_of(matrix, h[t], s.heads, 0, d_k)]
            k = [turned(x, t, s.rope_base) for x in heads_of(matrix, h[t], s.heads, s.heads, d_k)]
            if s.qk_norm:
                q, k = [unit(x) for x in q], [unit(x) for x in k]
            queries.append([s_qk[i] * q[i] for i in range(s.heads)])
            keys.append([s_qk[i] * k[i] for i in range(s.heads)])
            values.append(heads_of(matrix, h[t], s.heads, 2 * s.heads, d_k))
        y = attention(queries, keys, values, math.sqrt(d_k) * (1 if s.qk_norm else s.heads))
        for t in range(len(tokens)):
            h_a = unit(b["attention.out.weight"] @ y[t])
            h[t] = unit(h[t] + alpha_a * (h_a - h[t]))
            u, v = np.split(b["mlp.up.weight"] @ h[t], 2)
            u, v = s_u * u, s_v * v * math.sqrt(d)
            h_m = unit(b["mlp.down.weight"] @ (u * silu(v)))
            h[t] = unit(h[t] + alpha_m * (h_m - h[t]))
    s_z = w["s_z.weight"] * s.s_z_init / scale["s_z"]
    return np.array([s_z * (w["head.weight"] @ x) for x in h])
