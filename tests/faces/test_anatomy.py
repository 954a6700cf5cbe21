"""The resting face: seeds, proportions, symmetry, rotation, depth, and what is refused."""

import numpy as np
import pytest
import torch

from lorral_lite.faces import anatomy
from lorral_lite.landmarks import mirror_landmarks

PEOPLE = np.arange(400, dtype=np.uint64)


@pytest.fixture(scope="module")
def crowd():
    person = anatomy.draw(anatomy.PERSON, PEOPLE, {})
    return person, *anatomy.resting_face(person, PEOPLE)


def test_a_number_belongs_to_its_seed_and_stream():
    many = anatomy.uniforms(np.arange(50), "x", 4)
    assert np.array_equal(anatomy.uniforms(np.array([17]), "x", 4)[0], many[17])
    assert np.array_equal(anatomy.uniforms(np.arange(50), "x", 2), many[:, :2])
    assert not np.isclose(anatomy.uniforms(np.arange(50), "y", 4), many).any()


def test_uniform_numbers_are_uniform_and_independent():
    x = anatomy.uniforms(np.arange(20000), "u", 3)
    assert np.abs(np.sort(x, axis=0) - np.linspace(0, 1, 20000)[:, None]).max() < 0.015  # Kolmogorov–Smirnov
    assert np.abs(np.corrcoef(x.T) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(x[1:, 0], x[:-1, 0])[0, 1]) < 0.03  # neighbouring seeds


def test_factors_stay_in_their_ranges_and_vary(crowd):
    for name, factor in anatomy.PERSON.items():
        values = crowd[0][name]
        if factor.names:
            assert set(values) <= set(range(len(factor.names)))
        else:
            assert factor.low <= values.min()
            assert values.max() <= factor.high
        assert factor.law == "fixed" or len(set(values)) > 2, name


def test_a_given_factor_wins_and_leaves_the_others_alone(crowd):
    person = anatomy.draw(anatomy.PERSON, PEOPLE, {"age": 0.3, "hair": "long"})
    assert (person["age"] == 0.3).all()
    assert (person["hair"] == anatomy.HAIR.index("long")).all()
    assert np.array_equal(person["skin"], crowd[0]["skin"])


def test_the_ruler_is_one(crowd):
    face = crowd[1]
    gap = face[:, 25, 0] - face[:, 22, 0]
    assert np.allclose(gap, 1, atol=1e-12)


def test_features_stand_in_order_on_every_face(crowd):
    _, face, lengths = crowd
    v = face[..., 1]
    assert (v[:, :10].max(1) < v[:, 19:31].min(1)).all()  # brows above eyes
    assert (v[:, 19:31].max(1) < v[:, 14:19].min(1)).all()  # eyes above the nose base
    assert (v[:, 14:19].max(1) + 0.05 < v[:, 31:49].min(1)).all()  # nose above the mouth
    assert (v[:, 31:49].max(1) + 0.2 < lengths["chin"]).all()
    assert (np.abs(face[..., 0]).max(1) < lengths["width"]).all()
    for line in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [19, 20, 21, 22], [25, 26, 27, 28], list(range(31, 38))):
        assert (np.diff(face[:, line, 0]) > 0.05).all(), line
    assert (v[:, [23, 24, 29, 30]] > v[:, [21, 20, 27, 26]] + 0.1).all()  # open eyes


def test_without_asymmetry_faces_are_symmetric_and_with_it_they_are_not(crowd):
    person = anatomy.draw(anatomy.PERSON, PEOPLE, {"asymmetry": 0})
    face, _ = anatomy.resting_face(person, PEOPLE)
    assert np.allclose(mirror_landmarks(face, 1), face, atol=1e-12)  # width 1: mirrored about x = 0
    uneven = np.abs(mirror_landmarks(crowd[1], 1) - crowd[1]).max((1, 2))
    assert (uneven > 0.002).all()
    assert uneven.max() < 0.2


def test_rotation_turns_right_up_and_clockwise():
    spin = anatomy.rotation([10, 0, 0], [0, 10, 0], [0, 0, 10])
    assert np.allclose(spin @ spin.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    nose, crown = np.array([0, 0, 1.0]), np.array([0, -1.0, 0])
    assert (spin[0] @ nose)[0] > 0.1  # right
    assert (spin[1] @ nose)[1] < -0.1  # up
    assert (spin[2] @ crown)[0] > 0.1  # clockwise


def test_depth_has_a_nose_and_can_be_inverted_within_the_allowed_yaw():
    lengths = {"nose": torch.ones(1)}
    u = torch.linspace(-2.5, 2.5, 501)[None]
    for v in torch.linspace(-3, 3, 61):
        z = anatomy.depth(u, v.expand_as(u), lengths)
        x = u * np.cos(np.radians(20)) + z * np.sin(np.radians(20))
        assert (x.diff() > 0).all(), float(v)  # no point of the canvas is hidden behind another
    z = anatomy.depth(torch.tensor([[0.0, 0.7, 1.7]]), torch.tensor([[0.93, 0.93, 0.93]]), lengths)[0]
    assert z[0] > z[1] + 0.3 > z[2] + 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"age": 1.5}, r"age must lie between 0 and 1, got 1\.5"),
        ({"jaw": float("nan")}, r"jaw must lie between -2\.5 and 2\.5, got nan"),
        ({"skin": [0.1, 0.2]}, r"skin must be a number or 3 numbers, got shape \(2,\)"),
        ({"hair": "green"}, "hair must be one of bald, cropped, .* got 'green'"),
        ({"hair": ["short", "long"]}, "hair must be one name or 3 names, got 2"),
    ],
)
def test_what_a_factor_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        anatomy.draw(anatomy.PERSON, np.arange(3), given)
