"""``lorral prepare faces``: procedural faces with true AUs and known relations as a prepared folder (D26)."""

from ..device import pick_device
from ..faces import AUS, render_faces
from ..faces.cohort import UNSEEN, cohort
from ..faces.coverings import OCCLUDERS
from ..faces.population import Population
from ..faces.render import MAX_SIZE, MIN_SIZE
from ..landmarks import align_face
from ..output import progress_bar
from .prepared import PreparedFolder, open_prepared
from .writing import PreparedWriter

BLOCK = 64
MOST_FACES = 1_000_000  # what is drawn of them is held in memory before the first is rendered
DISTRACTORS = 0.1  # D72 other AUs: the share of frames that show one (open mouths, closed eyes)
RENDER_SCALE = 1.25  # faces are rendered larger than the aligned size, so that alignment rarely has to enlarge them


def prepare_faces(
    out, subjects: int = 90, frames: int = 50, size: int = 100, profile: str = "bp4d", difficulty: str = "default",
    relation_strength: float = 1.0, structure: str = "real", hidden=(), seed: int = 0, skip: int = 0, device=None,
    progress: bool = True,
) -> PreparedFolder:
    """Render ``subjects`` people with ``frames`` faces each, align them and write the prepared folder ``out``.

    Each person keeps face, skin, hair and habits over their frames; pose, light and background change with every
    frame, which are independent draws of the population (D71), not a video. ``size`` is the aligned size in pixels:
    100 for the lite model, 200 for paper(). AUs under the cover of ``hidden`` ones keep their labels, but their
    landmarks rest (D83). ``skip`` passes over so many frames of each person, which another folder has: the same people
    come back, and no frame does. The other arguments are those of
    :class:`lorral_lite.faces.population.Population`. ``device`` renders (a GPU when there is one); the last bits of a
    pixel may differ between CPU and GPU. DataError when ``out`` exists or cannot be written; ValueError names an
    argument outside its range.
    """
    largest = int(MAX_SIZE / RENDER_SCALE)
    if not MIN_SIZE <= size <= largest:
        raise ValueError(f"size must be a whole number of pixels from {MIN_SIZE} to {largest}, got {size!r}")
    if seed >= UNSEEN:
        raise ValueError(f"seed must be below {UNSEEN}, got {seed}: people from there on are kept for tests")
    if min(subjects, frames, skip + 1) < 1 or subjects * (skip + frames) > MOST_FACES:
        raise ValueError(f"{subjects} subjects with {skip + frames} frames each: from 1 to {MOST_FACES:,} faces can be "
                         "drawn")
    people = Population(profile=profile, relation_strength=relation_strength, structure=structure, hidden=hidden,
                        difficulty=difficulty, seed=seed)
    draw = people.subjects(subjects, skip + frames)
    labels = draw.labels[:, skip:].reshape(-1, len(people.aus))
    strengths = people.to_render(draw, DISTRACTORS, people.unrest, seed)[:, skip:]  # D67 faint movements
    strengths = strengths.reshape(len(labels), -1)
    for name in people.occluders:  # D83 covered AUs rest, or the alignment would tell of them
        strengths[:, [AUS.index(au) for au in OCCLUDERS[name]]] = 0
    index = [(f"P{s + 1:03d}", "T1", f + 1) for s in range(subjects) for f in range(skip, skip + frames)]
    meta = {
        "source": "faces", "licensed": False, "seed": seed, "distractors": DISTRACTORS,
        "population": people.describe(draw.labels[:, skip:]), **({"skip": skip} if skip else {}),
    }
    person, scene = (numbers.reshape(subjects, -1)[:, skip:].ravel()
                     for numbers in cohort(seed, subjects, skip + frames))
    render_size = round(size * RENDER_SCALE)
    bar = progress_bar(total=len(index), desc="faces", unit="face", disable=not progress)
    with PreparedWriter(out, size, people.aus, meta) as writer, bar:
        for first in range(0, len(index), BLOCK):
            block = slice(first, first + BLOCK)
            drawn = render_faces(strengths[block], render_size, seed=person[block], scene=scene[block],
                                 device=pick_device(device), **people.covers())
            faces = [align_face(image, points, size)
                     for image, points in zip(drawn.pictures, drawn.landmarks.cpu().numpy(), strict=True)]
            writer.append(index[block], [f[0] for f in faces], [f[1] for f in faces], labels[block])
            bar.update(len(faces))
    return open_prepared(out)
