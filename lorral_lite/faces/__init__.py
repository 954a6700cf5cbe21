"""Procedural faces: people, expressions and pixels without any image assets (D26)."""

from .expression import AUS
from .render import Faces, render_faces

__all__ = ["AUS", "Faces", "render_faces"]
