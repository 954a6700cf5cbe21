"""Who is drawn with which seeds: one recipe, so that the same people come back wherever faces are drawn."""

import numpy as np

PEOPLE = 1_000_003
"""Between the first person of one seed and that of the next."""
SCENES = 500_009
"""From a seed's first person to its first scene, so that no face shares its random numbers with a scene."""


def cohort(seed: int, subjects: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """For :func:`lorral_lite.render_faces`: the ``seed`` of the person and the ``scene`` of each of ``subjects`` ×
    ``frames`` faces, (subjects · frames,) each, person after person."""
    first = seed * PEOPLE
    return first + np.repeat(np.arange(subjects), frames), first + SCENES + np.arange(subjects * frames)
