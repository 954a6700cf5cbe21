"""AU relation learning (paper sections 3.1 to 3.3): modules that let the action units of one face inform each other.

All of them map (B, A, D) → (B, A, D), one token per action unit, and stand in :data:`RELATIONS` under their name: two
controls (none, mlp), the three of the paper, and the three in series.
What attention weights say about co-occurrence and exclusion is a question, not an assumption (D91).
"""

from .identity import RELATIONS, MLPRelation, NoRelation, Relation  # isort: split

from .bilstm import BiLSTMRelation
from .hopfield import HopfieldRelation, HopfieldRetrieval, energy, hopfield_retrieve
from .self_attention import SelfAttentionRelation, position_encoding, self_attention
from .series import SeriesRelation


def check_relation(name: str | None) -> str:
    """The name itself ("none" for None); ValueError lists the names when it is unknown."""
    if name is not None and name not in RELATIONS:
        raise ValueError(f"unknown relation {name!r}: choose from {', '.join(RELATIONS)}")
    return name or "none"


def label_of(name: str) -> str:
    """How tables and figures call a relation; the name itself when nobody has written it."""
    return RELATIONS[name].label if name in RELATIONS else name


def make_relation(name: str | None, dim: int, num_aus: int, **options) -> Relation:
    """The relation of that name for ``num_aus`` tokens of width ``dim``; ``options`` go to its class."""
    return RELATIONS[check_relation(name)](dim, num_aus, **options)


__all__ = [
    "RELATIONS", "BiLSTMRelation", "HopfieldRelation", "HopfieldRetrieval", "MLPRelation",
    "NoRelation", "Relation", "SelfAttentionRelation", "SeriesRelation", "check_relation", "energy",
    "hopfield_retrieve", "label_of", "make_relation", "position_encoding", "self_attention",
]
