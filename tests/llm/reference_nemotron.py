"""Nemotron token by token in double precision, as its sources write it: no chunks, no sorting.

`w` holds the parameters of a module by name. One sequence at a time: x is (length, dim).
"""

import math

import numpy as np

EPSILON = 1e-6


def weights_of(module):
    return {name: p.detach().double().numpy() for name, p in module.state_dict().items()}


def part(weights, prefix):
    """Those below a name."""
    start = prefix + "."
    return {name[len(start) :]: w for name, w in weights.items() if name.startswith(start)}


def norm(x, gain=1.0):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * gain


def silu(x):
    return x / (1 + np.exp(-x))


def scan(x, dt, A, B, C, state=None):
    """x: (length, heads, p); dt: (length, heads); A: (heads,); B, C: (length, groups, n)."""
    length, heads, p = x.shape
    groups, n = B.shape[1:]
    S = np.zeros((heads, p, n)) if state is None else state.copy()
    y = np.zeros_like(x)
    for t in range(length):
        for h in range(heads):
            g = h // (heads // groups)
            S[h] = math.exp(-dt[t, h] * A[h]) * S[h] + dt[t, h] * np.outer(x[t, h], B[t, g])
            y[t, h] = S[h] @ C[t, g]
    return y, S


def mamba2(w, s, u):
    inner, bc = s.heads * s.head_dim, s.groups * s.state
    z, raw, dt = np.split(u @ w["enter.weight"].T, [inner, 2 * inner + 2 * bc], axis=-1)
    mixed = np.zeros_like(raw)
    for t in range(len(u)):
        for j in range(s.conv):
            back = t - (s.conv - 1 - j)
            if back >= 0:
                mixed[t] += w["conv"][:, j] * raw[back]
    mixed = silu(mixed + w["conv_bias"])
    x, B, C = np.split(mixed, [inner, inner + bc], axis=-1)
    x = x.reshape(len(u), s.heads, s.head_dim)
    B, C = (v.reshape(len(u), s.groups, s.state) for v in (B, C))
    y, _ = scan(x, np.logaddexp(0, dt + w["dt_bias"]), np.exp(w["A_log"]), B, C)
    y = (y + w["D"][:, None] * x).reshape(len(u), inner) * silu(z)
    y = norm(y.reshape(len(u), s.groups, -1)).reshape(len(u), inner) * w["gain"]
    return y @ w["out.weight"].T


def attention(w, heads, kv_heads, p, x):
    q, k, v = np.split(x @ w["qkv.weight"].T, [heads * p, (heads + kv_heads) * p], axis=-1)
    out = np.zeros((len(x), heads * p))
    for h in range(heads):
        a, b = slice(h * p, (h + 1) * p), h // (heads // kv_heads)
        b = slice(b * p, (b + 1) * p)
        for t in range(len(x)):
            e = np.exp(k[: t + 1, b] @ q[t, a] / math.sqrt(p))
            out[t, a] = e @ v[: t + 1, b] / e.sum()
    return out @ w["out.weight"].T


def mlp(w, x):
    return np.maximum(x @ w["up.weight"].T, 0) ** 2 @ w["down.weight"].T


def moe(w, s, x):
    """Results (tokens, dim) and the balance loss of one sequence."""
    experts = len(w["router"])
    active = s.active * experts // s.experts
    inner = x @ w["enter.weight"].T if s.latent else x
    y, counts, P = np.zeros_like(inner), np.zeros(experts), np.zeros(experts)
    for t in range(len(x)):
        logits = w["router"] @ x[t]
        if s.score == "sigmoid":
            score = 1 / (1 + np.exp(-logits))
        else:
            score = np.exp(logits) / np.exp(logits).sum()
        chosen = sorted(range(experts), key=lambda e: score[e] + w["bias"][e])[-active:]
        total = sum(score[e] for e in chosen) if s.score == "sigmoid" else 1.0
        for e in chosen:
            hidden = np.maximum(w["up.weight"][e] @ inner[t], 0) ** 2
            y[t] += s.scaling * score[e] / total * (w["down.weight"][e] @ hidden)
            counts[e] += 1
        P += score / score.sum() / len(x)
    y = y @ w["leave.weight"].T if s.latent else y
    if s.shared:
        y = y + mlp(part(w, "shared"), x)
    return y, experts / (active * len(x)) * counts @ P


def stack(w, s, pattern, h):
    losses = 0.0
    for i, letter in enumerate(pattern):
        layer, x = part(w, f"layers.{i}"), norm(h, w[f"norms.{i}.weight"])
        if letter == "M":
            h = h + mamba2(layer, s.mamba, x)
        elif letter == "*":
            h = h + attention(layer, s.heads, s.kv_heads, s.head_dim, x)
        elif letter == "-":
            h = h + mlp(layer, x)
        else:
            y, loss = moe(layer, s.moe, x)
            h, losses = h + y, losses + loss
    return h, losses


def logits(w, s, tokens):
    h, _ = stack(part(w, "trunk"), s, s.pattern, w["embedding.weight"][tokens])
    return norm(h, w["norm.weight"]) @ w["head.weight"].T


def cross_entropy(z, targets):
    return float(
        np.mean([np.log(np.exp(row).sum()) - row[t] for row, t in zip(z, targets, strict=True)])
    )


def losses(w, s, window):
    """Main, those of the depths, and the balance loss, of one window (length + 1,)."""
    E, head = w["embedding.weight"], w["head.weight"]
    h, balance = stack(part(w, "trunk"), s, s.pattern, E[window[:-1]])
    main = cross_entropy(norm(h, w["norm.weight"]) @ head.T, window[1:])
    ahead = []
    for k in range(1, s.ahead.depths + 1):
        m = part(w, f"ahead.{0 if s.ahead.shared else k - 1}")
        h = h[: len(window) - 1 - k]  # position i predicts token i + k + 1
        rows = []
        for i in range(len(h)):
            after = norm(E[window[i + k]], m["token_norm.weight"])
            joined = np.concatenate((norm(h[i], m["hidden_norm.weight"]), after))
            rows.append(m["join.weight"] @ joined)
        h, more = stack(part(m, "stack"), s, s.ahead.pattern, np.array(rows))
        balance += more
        z = norm(h, m["norm.weight"]) @ head.T
        ahead.append(cross_entropy(z, [window[i + k + 1] for i in range(len(h))]))
    return main, ahead, balance
