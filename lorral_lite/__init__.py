"""lorral-lite: facial action units with local region relation learning (LoRRaL, arXiv 2009.10892), small and tested.

``import lorral_lite`` alone imports nothing heavy: a public name is imported when it is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "AU_SETS": "facs",
    "au_centers": "landmarks", "align_face": "landmarks", "mirror_landmarks": "landmarks",
    "render_faces": "faces",
    "PatchConv": "model", "FeatConv": "model", "AUCrops": "model",
    "BiLSTMRelation": "model", "SelfAttentionRelation": "model", "HopfieldRelation": "model",
    "LoRRaL": "model", "LoRRaLConfig": "model",
}  # fmt: skip

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
