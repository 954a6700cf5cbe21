"""The deaf twin of a relation: the same module with the same weights, in which no AU hears another.

What a relation gains over its twin is company: size, residual paths, position and optimisation are the same.
"""

from .bilstm import BiLSTMRelation
from .identity import Relation
from .self_attention import AttentionLayer


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
        if isinstance(part, AttentionLayer | BiLSTMRelation):
            part.deaf = True
    return relation
