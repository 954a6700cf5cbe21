"""The paper: PatchConv → global, landmark and local AU features → AU relation → AU heads, and the losses."""

from .au_crops import AUCrops
from .feat_conv import FeatConv
from .lorral import Features, LoRRaL, LoRRaLConfig, Output
from .losses import lorral_loss
from .patch_conv import PatchConv
from .relations import BiLSTMRelation, HopfieldRelation, SelfAttentionRelation

__all__ = [
    "AUCrops", "BiLSTMRelation", "FeatConv", "Features", "HopfieldRelation", "LoRRaL", "LoRRaLConfig", "Output",
    "PatchConv", "SelfAttentionRelation", "lorral_loss",
]
