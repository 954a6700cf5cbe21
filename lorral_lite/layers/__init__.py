"""The three building blocks of the convolutional part (paper Figures 2 and 3)."""

from .au_crops import AUCrops
from .feat_conv import FeatConv
from .patch_conv import PatchConv

__all__ = ["AUCrops", "FeatConv", "PatchConv"]
