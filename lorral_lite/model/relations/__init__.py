"""AU relation learning (paper sections 3.1 to 3.3): modules that let the action units of one face inform each other.

All of them map (B, A, D) → (B, A, D), one token per action unit, and stand in :data:`RELATIONS` under their name: two
controls (none, mlp), the three of the paper, and the three in series.
What attention weights say about co-occurrence and exclusion is a question, not an assumption (D91).
"""

from .identity import RELATIONS, MLPRelation, NoRelation, Relation  # isort: split

from .bilstm import BiLSTMRelation
from .deaf import deafen
from .hopfield import HopfieldRelation, HopfieldRetrieval, energy, hopfield_retrieve
from .self_attention import SelfAttentionRelation, position_encoding, self_attention
from .series import SeriesRelation


def label_of(name: str) -> str:
    """How tables and figures call a relation; the name itself when nobody has written it."""
    return RELATIONS[name].label if name in RELATIONS else name


__all__ = [
    "RELATIONS", "BiLSTMRelation", "HopfieldRelation", "HopfieldRetrieval", "MLPRelation",
    "NoRelation", "Relation", "SelfAttentionRelation", "SeriesRelation", "deafen", "energy",
    "hopfield_retrieve", "label_of", "position_encoding", "self_attention",
]
