"""AU relation learning (paper sections 3.1 to 3.3): modules that let the action units of one face inform each other.

All of them map (B, A, D) → (B, A, D), one token per action unit, and stand in :data:`RELATIONS` under their name.
What attention weights say about co-occurrence and exclusion is a question, not an assumption (D91).
"""

from .bilstm import BiLSTMRelation
from .hopfield import HopfieldRelation, HopfieldRetrieval, energy, hopfield_retrieve
from .identity import MLPRelation, NoRelation, Relation
from .self_attention import SelfAttentionRelation, position_encoding, self_attention
from .series import SeriesRelation

RELATIONS: dict[str, type[Relation]] = {
    "none": NoRelation,
    "mlp": MLPRelation,
    "bilstm": BiLSTMRelation,
    "self_attention": SelfAttentionRelation,
    "hopfield": HopfieldRelation,
    "series": SeriesRelation,
}
"""Name → class: two controls (none, mlp), the three of the paper, and the three in series."""

RELATION_NAMES = {
    "none": "no relation", "mlp": "MLP control", "bilstm": "BiLSTM", "self_attention": "self-attention",
    "hopfield": "Hopfield", "series": "in series",
}
"""Name in a config → name in a figure or table, in the order of every table."""


def check_relation(name: str | None) -> str:
    """The name itself ("none" for None); ValueError lists the names when it is unknown."""
    if name is not None and name not in RELATIONS:
        raise ValueError(f"unknown relation {name!r}: choose from {', '.join(RELATIONS)}")
    return name or "none"


def make_relation(name: str | None, dim: int, num_aus: int, **options) -> Relation:
    """The relation of that name for ``num_aus`` tokens of width ``dim``; ``options`` go to its class."""
    return RELATIONS[check_relation(name)](dim, num_aus, **options)


__all__ = [
    "RELATIONS", "RELATION_NAMES", "BiLSTMRelation", "HopfieldRelation", "HopfieldRetrieval", "MLPRelation",
    "NoRelation", "Relation", "SelfAttentionRelation", "SeriesRelation", "check_relation", "energy",
    "hopfield_retrieve", "make_relation", "position_encoding", "self_attention",
]
