"""Self-attention encoding, the Hopfield layer and the LSTM from their equations, one number at a time, for oracles."""

import math

import torch


def linear(weight, bias, x):
    rows = zip(weight, bias, strict=True)
    return [sum(float(w) * v for w, v in zip(row, x, strict=True)) + float(b) for row, b in rows]


def layer_norm(norm, x):
    mean = sum(x) / len(x)
    std = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + norm.eps)
    return [(v - mean) / std * float(g) + float(b) for v, g, b in zip(x, norm.weight, norm.bias, strict=True)]


def pe(pos, dim):
    """Equations 3.1 and 3.2."""
    return [
        math.sin(pos / 10000 ** (k / dim)) if k % 2 == 0 else math.cos(pos / 10000 ** ((k - 1) / dim))
        for k in range(dim)
    ]


def softmax(x):
    e = [math.exp(v) for v in x]
    return [v / sum(e) for v in e]


def add(x, y):
    return [u + v for u, v in zip(x, y, strict=True)]


def by_the_equations(relation, tokens, heads, steps=1, beta=None):
    """Preprocessing and one encoder layer for one face, (A, D), one number at a time.

    With more than one step the query of each head moves among the keys before it reads the values (section 3.3).
    """
    layer = relation.layers[0]
    dim, d = tokens.shape[1], tokens.shape[1] // heads
    x = [linear(relation.linear.weight, relation.linear.bias, token.tolist()) for token in tokens]
    x = [layer_norm(relation.norm, token) for token in x]
    x = [add(token, pe(pos, dim)) for pos, token in enumerate(x)]
    q, k, v = ([linear(f.weight, f.bias, t) for t in x] for f in (layer.query, layer.key, layer.value))
    out = []
    for a in range(len(x)):
        heard = []
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            keys, state, scale = [key[part] for key in k], q[a][part], 1 / math.sqrt(d) if beta is None else beta
            for step in range(steps):
                weight = softmax([scale * sum(s * t for s, t in zip(state, key, strict=True)) for key in keys])
                if step < steps - 1:
                    state = [sum(w * key[j] for w, key in zip(weight, keys, strict=True)) for j in range(d)]
            heard += [sum(w * value[part][j] for w, value in zip(weight, v, strict=True)) for j in range(d)]
        y = layer_norm(layer.norm1, add(x[a], linear(layer.out.weight, layer.out.bias, heard)))
        hidden = [max(0.0, u) for u in linear(layer.mlp[0].weight, layer.mlp[0].bias, y)]
        out.append(layer_norm(layer.norm2, add(y, linear(layer.mlp[2].weight, layer.mlp[2].bias, hidden))))
    return torch.tensor(out, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def one_direction(tokens, w_in, w_state, b_in, b_state):
    """An LSTM over a list of tokens, one number at a time (gates in the order input, forget, cell, output)."""
    hidden = w_state.shape[1]
    h, c, outputs = [0.0] * hidden, [0.0] * hidden, []
    for token in tokens:
        gate = [
            float(b_in[r]) + float(b_state[r])
            + sum(float(w) * float(x) for w, x in zip(w_in[r], token, strict=True))
            + sum(float(w) * x for w, x in zip(w_state[r], h, strict=True))
            for r in range(4 * hidden)
        ]  # fmt: skip
        new_h = []
        for j in range(hidden):
            i, f, g, o = (gate[k * hidden + j] for k in range(4))
            c[j] = sigmoid(f) * c[j] + sigmoid(i) * math.tanh(g)
            new_h.append(sigmoid(o) * math.tanh(c[j]))
        h = new_h
        outputs.append(h)
    return outputs


def bilstm_by_loops(lstm, tokens):
    """One layer of ``nn.LSTM`` over a face's tokens (A, D), forwards and backwards: a list of A lists."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    there = one_direction(tokens, *(getattr(lstm, f"{kind}_l0") for kind in kinds))
    back = one_direction(tokens.flip(0), *(getattr(lstm, f"{kind}_l0_reverse") for kind in kinds))[::-1]
    return [x + y for x, y in zip(there, back, strict=True)]
