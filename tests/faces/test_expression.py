"""Action units move landmarks and deepen furrows as FACS says."""

import numpy as np
import pytest
import torch

from lorral_lite.faces import AUS, anatomy, expression

FACE = anatomy.AVERAGE_FACE[None]


def show(**aus):
    """{au1=0.5, au12=(0, 1)} → (1, 18, 2)."""
    return expression.read_aus({int(k[2:]): v for k, v in aus.items()})


def shift(point, **aus):
    """How far a point of the average face moves, (right, down)."""
    return (expression.move(FACE, show(**aus)) - FACE)[0, point]


# AU, point, right, down: 0 = hardly moves, ±1 = moves that way. Points of the left half: right = towards the midline.
FACS_DIRECTIONS = [
    (1, 4, None, -1), (1, 0, 0, 0), (2, 1, None, -1), (2, 4, 0, 0), (4, 4, 1, 1), (4, 3, 1, 1), (5, 20, 0, -1),
    (5, 24, 0, 0), (6, 24, 0, -1), (7, 23, 0, -1), (7, 20, 0, 1), (9, 14, None, -1), (9, 4, None, 1), (9, 33, 0, -1),
    (10, 33, None, -1), (10, 40, 0, 0), (12, 31, -1, -1), (14, 31, 1, None), (14, 42, None, -1), (15, 31, None, 1),
    (17, 40, 0, -1), (17, 41, 0, -1), (20, 31, -1, 0), (20, 40, 0, -1), (23, 31, 1, 0), (23, 34, 0, 1),
    (23, 40, 0, -1), (24, 34, 0, 1), (24, 40, 0, -1), (24, 31, None, None), (25, 47, 0, 1), (25, 44, 0, -1),
    (26, 40, 0, 1), (26, 31, 1, 1), (43, 20, None, 1), (43, 3, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize(("au", "point", "right", "down"), FACS_DIRECTIONS)
def test_each_au_moves_its_points_as_the_muscle_does(au, point, right, down):
    moved = expression.displacements(au)[point]
    for value, wanted in zip(moved, (right, down), strict=True):
        if wanted == 0:
            assert abs(value) < 0.025
        elif wanted is not None:
            assert value * wanted > 0.03


@pytest.mark.parametrize("au", AUS)
def test_every_au_moves_something_and_more_the_stronger(au):
    reach = [np.abs(expression.move(FACE, expression.read_aus({au: x})) - FACE).max() for x in (0, 0.2, 0.4, 0.6, 1)]
    assert reach[0] < 1e-9  # the resting face is left alone
    assert (np.diff(reach) > 0.01 * (1 if au != 6 else 0.5)).all()


def test_midline_points_take_half_of_each_side():
    both, left = shift(40, au17=1.0), shift(40, au17=(1.0, 0))
    assert np.allclose(left, both / 2, atol=0.02)


def test_combinations_share_the_skin():
    inner_raise, inner_lower = shift(4, au1=1.0)[1], shift(4, au4=1.0)[1]
    oblique = shift(4, au1=1.0, au4=1.0)
    assert inner_raise + inner_lower > oblique[1]  # 1+4: the frontalis holds the inner brow up …
    assert oblique[1] < -0.10
    assert oblique[0] > 0.08  # … and the corrugator pulls it inwards
    for pair, point, axis in (((12, 15), 31, 1), ((10, 12), 33, 1), ((23, 24), 40, 1), ((9, 10), 33, 1)):
        a, b = (abs(shift(point, **{f"au{n}": 1.0})[axis]) for n in pair)
        together = abs(shift(point, **{f"au{n}": 1.0 for n in pair})[axis])
        assert together < a + b - 0.01, pair


def test_lids_and_lips_never_cross():
    random = np.random.default_rng(0)
    seeds = np.arange(600)
    person = anatomy.draw(anatomy.PERSON, seeds, {})
    rest, _ = anatomy.resting_face(person, seeds)
    aus = random.random((600, 18, 2)) * (random.random((600, 18, 1)) < 0.4)
    face = expression.move(rest, aus)
    for top, bottom in ((20, 24), (21, 23), (26, 30), (27, 29), (33, 43), (34, 44), (35, 45), (43, 48), (44, 47),
                        (45, 46), (48, 41), (47, 40), (46, 39)):  # fmt: skip
        assert (face[:, bottom, 1] - face[:, top, 1] > -1e-6).all(), (top, bottom)
    assert (np.diff(face[:, 31:38, 0]) > 0).all()
    assert (np.diff(face[:, 0:10, 0]) > 0).all()


def test_au43_closes_the_eyes_and_au5_loses():
    rest = FACE[0, 24, 1] - FACE[0, 20, 1]

    def gap(aus):
        face = expression.move(FACE, aus)[0]
        return (face[[24, 23], 1] - face[[20, 21], 1]).mean()

    assert gap(show(au43=1.0)) < 0.12 * rest
    assert gap(show(au43=1.0, au5=1.0)) < 0.12 * rest
    assert gap(show(au5=1.0)) > 1.3 * rest > rest > 1.15 * gap(show(au7=0.6))


FURROWS = {
    1: "forehead_middle", 2: "forehead_side", 4: "glabella", 6: "crows_feet", 7: "under_eye", 9: "nose_root",
    10: "nasolabial_top", 12: "nasolabial_low", 14: "dimple", 15: "marionette", 17: "chin", 20: "side_mouth",
    23: "lip_wrinkles", 24: "press",
}  # fmt: skip


@pytest.mark.parametrize(("au", "name"), FURROWS.items())
def test_furrows_deepen_with_their_au_on_its_side(au, name):
    age = np.array([0.3])
    depth = [expression.furrows(expression.read_aus({au: (x, 0)}), age)[name][0] for x in (0, 0.2, 0.6, 1.0)]
    left = np.array(depth)[:, 0]
    assert (np.diff(left) > 0).all()
    assert left[-1] > 0.5
    assert np.allclose(np.array(depth)[:, 1], depth[0][1])


def test_a_tensor_an_array_and_a_dictionary_say_the_same():
    row = np.zeros((1, 18))
    row[0, AUS.index(12)] = 0.5
    expected = expression.read_aus({12: 0.5})
    assert np.array_equal(expression.read_aus(row), expected)
    assert np.allclose(expression.read_aus(torch.tensor(row, dtype=torch.float32)), expected)
    sided = np.repeat(row[..., None], 2, -1)
    sided[..., 0] = 0
    assert np.array_equal(expression.read_aus(sided), expression.read_aus({12: (0, 0.5)}))


@pytest.mark.parametrize(
    ("aus", "message"),
    [
        ({3: 0.5}, "aus: unknown action unit 3, choose from 1, 2, 4"),
        ({12: 1.2}, r"aus: intensity of AU12 must lie between 0 and 1, got 1\.2"),
        ({12: (0.2, -0.1)}, r"aus: intensity of AU12 must lie between 0 and 1, got -0\.1"),
        ({4: float("nan")}, "aus: intensity of AU4 must lie between 0 and 1, got nan"),
        ({4: (1, 0, 1)}, r"aus\[4\] must be a number or a \(left, right\) pair, got \(1, 0, 1\)"),
        (torch.zeros(2, 12), r"aus must be of shape \(N, 18\) or \(N, 18, 2\), got \(2, 12\)"),
        (torch.zeros(0, 18), r"aus must be of shape \(N, 18\) or \(N, 18, 2\), got \(0, 18\)"),
        ("smile", "aus must be a dictionary or numbers, got str"),
    ],
)
def test_what_is_refused(aus, message):
    with pytest.raises(ValueError, match=message):
        expression.read_aus(aus)
