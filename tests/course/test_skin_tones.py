"""The error by skin tone: only the skin changes, people are paired, and a model that errs more on dark skin is seen."""

import numpy as np
import pytest
import torch

from lorral_lite import LoRRaL, LoRRaLConfig
from lorral_lite.course import ch12_photos as st
from lorral_lite.faces.cohort import UNSEEN
from lorral_lite.faces.population import Population
from lorral_lite.files import data_file
from lorral_lite.measure.statistics import mean_f1_interval
from lorral_lite.training.run_folder import load_model


@pytest.fixture(scope="module")
def model():
    return load_model(data_file("weights", "faces_lite"), "self_attention", "cpu")


def test_the_same_people_frames_and_labels_in_every_tone():
    crowd = Population("bp4d", seed=3)
    light, dark = (list(st.pictures(crowd, skin, 2, 3, 64)) for skin in (0.0, 1.0))
    for (a, points, labels), (b, same_points, same_labels) in zip(light, dark, strict=True):
        assert a.shape == b.shape == (3, 80, 80, 3)
        np.testing.assert_array_equal(points, same_points)
        np.testing.assert_array_equal(labels, same_labels)
        np.testing.assert_array_equal(a[:, :3, :3], b[:, :3, :3])  # the background stays
        x, y = points[0, 13].round().astype(int)
        assert b[0, y, x].mean() < a[0, y, x].mean() - 30  # the nose does not
    np.testing.assert_array_equal(np.stack([shown for *_, shown in light]), crowd.subjects(2, 3).labels)
    assert (light[0][1] != light[1][1]).any()


def test_a_perfect_eye_that_fades_with_the_light_is_found_out(model, monkeypatch):
    """Answers that are right on light skin, and on the darkest all "no" with landmarks 10 % off."""
    labels = Population("bp4d", seed=UNSEEN + 1).subjects(3, 4).labels
    seen = []

    def answers(model, aligned, landmarks):
        person, dark = len(seen) % 3, len(seen) >= 3
        seen.append(aligned)
        logits = np.where(labels[person] == 1, 1.0, -1.0)
        return (np.full_like(logits, -1.0), np.full(4, 10.0 + person)) if dark else (logits, np.full(4, 2.0))

    monkeypatch.setattr(st, "answers", answers)
    monkeypatch.setattr(st, "as_photo", lambda model, image: (True, len(seen) < 4))
    light, dark = st.measure_tones(model, (0.0, 1.0), people=3, frames=4, photos=2)
    assert light.f1().value == pytest.approx(100 * labels.any((0, 1)).mean())  # an AU that nobody shows scores 0
    assert dark.f1().value == 0
    assert dark.f1_gap(light).value == pytest.approx(-light.f1().value)
    assert (light.error().value, dark.error().value) == (2, 11)
    gap = dark.error_gap(light)
    assert (gap.value, gap.n) == (9, 3)
    assert gap.se == pytest.approx(3**-0.5)  # differences 8, 9, 10 of three people
    assert (light.answered.tolist(), dark.answered.tolist()) == ([1, 1, 1], [0, 0, 0])


def test_a_whole_small_measurement(model):
    tones = st.measure_tones(model, (0.2, 0.9), people=2, frames=2, photos=1, seed=5)
    for tone in tones:
        assert sum(map(sum, zip(*tone.per_subject["P001"].values(), strict=True))) == 2 * 12
        assert tone.f1() == mean_f1_interval(tone.per_subject)
        assert ((tone.nme > 0.5) & (tone.nme < 15)).all()
        assert (tone.answered <= tone.found).all()
    again = st.measure_tones(model, (0.9,), people=2, frames=2, photos=0, seed=5)[0]
    assert again.per_subject == tones[1].per_subject  # a tone does not depend on the others


def test_landmark_errors_are_in_the_pixels_of_the_model(model):
    aligned, landmarks = np.zeros((2, 100, 100, 3), dtype=np.uint8), np.zeros((2, 49, 2), dtype=np.float32)
    seen = model.eval()(torch.full((1, 3, 88, 88), -1.0)).landmarks[0].detach().numpy()
    landmarks[:] = seen + 6  # the centre crop of 88 px starts at pixel 6
    logits, error = st.answers(model, aligned, landmarks)
    assert logits.shape == (2, 12)
    np.testing.assert_allclose(error, 0, atol=1e-3)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"people": 1}, "people must be at least 2, or there is no interval over people, got 1"),
    ({"photos": 9, "frames": 8}, r"photos must lie between 0 and frames \(8\), got 9"),
])
def test_what_is_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        st.measure_tones(model, **arguments)
    with pytest.raises(ValueError, match="but this model knows"):
        st.measure_tones(LoRRaL(LoRRaLConfig.lite(aus=(6, 12))), people=2)
