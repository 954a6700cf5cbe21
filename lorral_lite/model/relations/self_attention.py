"""AU relation learning with self-attention encoding (paper section 3.2, Figure 6, equations 3.1 to 3.3)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .identity import Relation


def position_encoding(length: int, dim: int) -> Tensor:
    r"""Equations 3.1 and 3.2: which AU of the list a token is, as sines and cosines of different wavelengths.

    .. math:: pe(pos, 2i) = \sin(pos / 10000^{2i/d}), \qquad pe(pos, 2i+1) = \cos(pos / 10000^{2i/d})

    ``pos`` is the 0-based place of the AU in the list; the exponent, misprinted in the paper, is that of its source,
    Vaswani et al. 2017 (D12). Shape: (length, dim).
    """
    pos = torch.arange(length, dtype=torch.float64)[:, None]
    even = torch.arange(0, dim, 2, dtype=torch.float64)  # 2i
    angle = pos / 10000 ** (even / dim)
    pe = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :dim]
    return pe.to(torch.get_default_dtype())


def self_attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 3.3. Queries (…, S, d), keys (…, N, d), values (…, N, e) → result (…, S, e), weights (…, S, N)."""
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)  # eq 3.3: softmax(Q Kᵀ / √d_k) …
    return weights @ v, weights  # … V


class AttentionLayer(nn.Module):
    """One self-attention encoding layer: several heads of equation 3.3, then a small MLP, each with a residual.

    Source: paper section 3.2; heads, residuals, LayerNorms and the MLP are those of the encoder layer of Vaswani et
    al. 2017 (D10). Shape: (B, A, dim) → (B, A, dim); ``attention`` (B, heads, A, A) is readable after a call.
    """

    attention: Tensor | None = None
    deaf = False  # see deafen

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def associate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Which AUs a query listens to, and what it hears. The Hopfield layer iterates here."""
        return self_attention(q, k, v)

    def attend(self, x: Tensor) -> Tensor:
        """All heads at once, (B, A, dim) → (B, A, dim), before residual and LayerNorm."""
        heads = (self.heads, x.shape[-1] // self.heads)
        q, k, v = (f(x).unflatten(-1, heads).transpose(1, 2) for f in (self.query, self.key, self.value))
        if self.deaf:  # every token is a sequence of its own
            heard, weights = (x[..., 0, :] for x in self.associate(*(x.unsqueeze(-2) for x in (q, k, v))))
            weights = weights.squeeze(-1).diag_embed()
        else:
            heard, weights = self.associate(q, k, v)  # (B, heads, A, dim / heads), (B, heads, A, A)
        self.attention = weights.detach()
        return self.out(heard.transpose(1, 2).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self.attend(x)))
        return self.norm2(x + self.dropout(self.mlp(x)))


class SelfAttentionRelation(Relation):
    """Preprocessing, then self-attention encoding: each AU becomes a weighted sum of all, weighted by resemblance.

    Preprocessing is Linear, LayerNorm, Dropout, then the position encoding is added (paper section 3.2). Not stated
    there: as wide as the tokens, 4 heads, 1 layer (D10). ``position=False`` leaves the position encoding out: then the
    AUs have no order, and permuting them permutes the result. ``layer`` makes each of the layers.

    Shape: (B, A, dim) → (B, A, dim), dim divisible by heads; ``attention`` (B, heads, A, A) of the last layer after a
    call, row AU listening to column AU.

    >>> SelfAttentionRelation(16, 12)(torch.zeros(2, 12, 16)).shape
    torch.Size([2, 12, 16])
    """

    name, label, colour, marker = "self_attention", "self-attention", "#0072B2", "D"

    def __init__(self, dim: int, num_aus: int, heads: int = 4, layers: int = 1, dropout: float = 0.1,
                 position: bool = True, *, layer: Callable[..., AttentionLayer] = AttentionLayer) -> None:
        super().__init__(dim, num_aus)
        if heads < 1 or dim % heads:
            raise ValueError(f"{dim} features cannot be shared by {heads} heads: dim must be a multiple of heads")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        self.linear = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        pe = position_encoding(num_aus, dim) if position else torch.zeros(num_aus, dim)
        self.register_buffer("position", pe, persistent=False)
        self.layers = nn.ModuleList(layer(dim, heads, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.norm(self.linear(self.check_tokens(tokens)))) + self.position
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def attention(self) -> Tensor | None:
        return self.layers[-1].attention
