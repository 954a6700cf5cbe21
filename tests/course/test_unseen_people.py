"""The people whom notebooks call unseen are none of those whom any run may have learned from, whatever the seeds.

Who a face is, its shape, skin and hair, follows from the ``seed`` that :func:`lorral_lite.render_faces` gets; how often
a person shows which AU from the population. Both are recorded where people are drawn, for training and for notebooks.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lorral_lite import LoRRaL, LoRRaLConfig
from lorral_lite.cli import main
from lorral_lite.course import ch12_photos, portraits
from lorral_lite.datasets import synthetic
from lorral_lite.faces.anatomy import PERSON, draw, resting_face
from lorral_lite.faces.cohort import PEOPLE, UNSEEN, cohort
from lorral_lite.faces.population import Population

SEEDS = range(5)  # of parameters and of `lorral prepare faces`
SUBJECTS = 4


class Drawn(Exception):
    """People have been drawn; their pictures are not needed."""


@pytest.fixture
def people(monkeypatch):
    """Returns a function: what a call draws → ({face of each person}, {habits of each person}), as bytes."""
    def of(where, call):
        seen, habits = [], []

        def render(strengths, size, seed, scene, **more):
            seen.extend(np.unique(seed))
            if where is not ch12_photos or len(set(seen)) == SUBJECTS:
                raise Drawn
            return SimpleNamespace(pictures=np.zeros((1, 100, 100, 3), np.uint8),
                                   landmarks=torch.zeros(1, 49, 2))

        class Recorded(Population):
            def subjects(self, *args, **more):
                habits.extend(self._persons(SUBJECTS))
                return super().subjects(*args, **more)

        monkeypatch.setattr(where, "render_faces", render)
        monkeypatch.setattr(where, "Population", Recorded)
        if where is ch12_photos:
            monkeypatch.setattr(where, "align_face", lambda *a: (np.zeros((100, 100, 3), np.uint8), np.zeros((49, 2))))
            monkeypatch.setattr(where, "answers", lambda *a: (np.zeros((1, 12)), np.zeros(1)))
        with pytest.raises(Drawn):
            call()
        who = draw(PERSON, np.array(seen, np.uint64), {})
        shape, _ = resting_face(who, np.array(seen, np.uint64))
        looks = np.column_stack([*who.values(), shape.reshape(len(seen), -1)])
        return set(map(np.ndarray.tobytes, looks)), set(map(np.ndarray.tobytes, np.array(habits)))

    return of


def test_no_person_of_a_notebook_is_one_of_any_training(people, tmp_path):
    model = LoRRaL(LoRRaLConfig.lite())
    trained, unseen = [], []
    for seed in SEEDS:
        trained.append(people(synthetic, lambda seed=seed: synthetic.prepare_faces(
            tmp_path / str(seed), SUBJECTS, 2, seed=seed, progress=False)))
        unseen.append(people(portraits, lambda seed=seed: portraits.sample_faces(model, SUBJECTS, 2, seed)))
        unseen.append(people(ch12_photos, lambda seed=seed: ch12_photos.measure_tones(
            model, (0.5,), SUBJECTS, 1, 0, seed)))
    for which in (0, 1):  # faces, habits
        known, others = (set().union(*(found[which] for found in drawn)) for drawn in (trained, unseen))
        assert len(known) == len(others) == SUBJECTS * len(SEEDS)  # of other people with every seed
        assert not known & others


def test_nobody_learns_from_people_who_are_kept(tmp_path, capsys):
    for seed in (UNSEEN, UNSEEN + 1, 2**70):
        with pytest.raises(SystemExit, match="2"):
            main(["prepare", "faces", str(tmp_path / "out"), "--seed", str(seed), "--quiet"])
        assert "--seed" in capsys.readouterr().err
        with pytest.raises(ValueError, match=f"seed must be below {UNSEEN}, got {seed}: people from there on are kept"):
            synthetic.prepare_faces(tmp_path / "out", 2, 2, seed=seed, progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="subjects must be at most 1,000,003"):
        cohort(0, PEOPLE + 1, 1)  # they would run into the people of seed 1
    assert cohort(UNSEEN - 1, PEOPLE, 1)[0].max() < cohort(UNSEEN, 1, 1)[0].min()
