"""Who is drawn with which seeds: one recipe, so that the same people come back wherever faces are drawn."""

import numpy as np

PEOPLE = 1_000_003
"""Between the first person of one seed and that of the next."""
SCENES = 500_009
"""From a seed's first person to its first scene, so that no face shares its random numbers with a scene."""
UNSEEN = 2**32
"""From this seed on, people are kept for looking at models: ``lorral prepare faces`` draws none of them, so no run has
learned from them, whatever its seed. Add it to a seed, for the population too."""


def cohort(seed: int, subjects: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """For :func:`lorral_lite.render_faces`: the ``seed`` of the person and the ``scene`` of each of ``subjects`` ×
    ``frames`` faces, (subjects · frames,) each, person after person. ValueError for more people than a seed has."""
    if subjects > PEOPLE:
        raise ValueError(f"subjects must be at most {PEOPLE:,}, got {subjects:,}: they would be those of the next seed")
    first = seed * PEOPLE
    return first + np.repeat(np.arange(subjects), frames), first + SCENES + np.arange(subjects * frames)
