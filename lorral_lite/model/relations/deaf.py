"""The deaf twin of a relation: the same module with the same weights, in which no AU hears another.

What a relation gains over its twin is company: size, residual paths, position and optimisation are the same.
"""

from torch import Tensor, nn

from .identity import Relation
from .self_attention import AttentionLayer


class LoneLSTM(nn.LSTM):
    """An LSTM to which every token is a sequence of its own: (B, A, D) → (B, A, directions · hidden), no states."""

    def forward(self, tokens: Tensor) -> tuple[Tensor, None]:
        new, _ = super().forward(tokens.flatten(0, 1)[:, None])
        return new.unflatten(0, tokens.shape[:2]).squeeze(2), None


def deafen(relation: Relation) -> Relation:
    """Make a relation deaf, in place: every attention is to the own token, every LSTM reads sequences of length 1.

    >>> import torch
    >>> from .self_attention import SelfAttentionRelation
    >>> twin, tokens = deafen(SelfAttentionRelation(16, 12).eval()), torch.randn(1, 12, 16)
    >>> other = tokens.clone()
    >>> other[:, 1:] = 0
    >>> torch.equal(twin(tokens)[:, 0], twin(other)[:, 0])
    True
    """
    for part in relation.modules():
        if isinstance(part, AttentionLayer):
            part.deaf = True
        elif isinstance(part, nn.LSTM):
            part.__class__ = LoneLSTM  # the same weights
    return relation
