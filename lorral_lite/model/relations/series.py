"""The three relations of the paper one after the other, after HiCOMEX (D21)."""

from torch import Tensor

from .bilstm import BiLSTMRelation
from .hopfield import HopfieldRelation
from .identity import Relation
from .self_attention import SelfAttentionRelation


class SeriesRelation(Relation):
    """BiLSTM → self-attention → Hopfield.

    Source: the abstract of HiCOMEX, by the same authors, which puts in series what LoRRaL tries one at a time. Its
    text is not public: this is our reading of the abstract (D21). ``steps`` and ``beta`` are those of the Hopfield
    relation, ``residual`` that of the BiLSTM; further options (heads, layers, dropout, position) go to both attentions.

    Shape: (B, A, dim) → (B, A, dim), dim even and divisible by heads; ``attention`` is that of the Hopfield relation,
    ``self_attention.attention`` that before it.

    >>> import torch
    >>> SeriesRelation(16, 12)(torch.zeros(2, 12, 16)).shape
    torch.Size([2, 12, 16])
    """

    name, label, colour, marker = "series", "in series", "#009E73", "v"

    def __init__(self, dim: int, num_aus: int, steps: int = 2, beta: float | None = None,
                 residual: bool = False, **options) -> None:
        super().__init__(dim, num_aus)
        self.bilstm = BiLSTMRelation(dim, num_aus, residual)
        self.self_attention = SelfAttentionRelation(dim, num_aus, **options)
        self.hopfield = HopfieldRelation(dim, num_aus, steps, beta, **options)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.hopfield(self.self_attention(self.bilstm(tokens)))

    @property
    def attention(self) -> Tensor | None:
        return self.hopfield.attention
