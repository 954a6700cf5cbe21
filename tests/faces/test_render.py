"""Pixels: repeatable, symmetric where faces are, landmarks where features are, AUs where FACS looks for them."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lorral_lite.faces import AUS, coverings, head, render, render_faces
from lorral_lite.facs import INTENSITY
from lorral_lite.landmarks import au_centers, mirror_landmarks, ruler

STILL = {
    "yaw": 0, "pitch": 0, "roll": 0, "shift_x": 0, "shift_y": 0, "zoom": 1, "light_azimuth": 0, "light_elevation": 30,
    "light_strength": 0.7, "background": "plain", "noise": 0, "focus": 1, "exposure": 0,
}  # fmt: skip
PLAIN = {**STILL, "asymmetry": 0, "age": 0.2, "glasses": "none", "facial_hair": "none", "hair": "short", "skin": 0.3}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def table(*rows):
    """Dictionaries of AUs → (N, 18, 2)."""
    values = torch.zeros(len(rows), len(AUS), 2)
    for i, row in enumerate(rows):
        for au, x in row.items():
            values[i, AUS.index(au)] = torch.as_tensor(x, dtype=torch.float32)
    return values


def grey(faces):
    return faces.images.mean(1)


def disc(points, radius, size):
    """(K, 2) centres → (size, size) bool."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    near = [(x - px) ** 2 + (y - py) ** 2 < radius**2 for px, py in points.tolist()]
    return torch.stack(near).any(0)


def test_shapes_types_and_ranges():
    faces = render_faces(table({}, {12: 1}, {4: 1}), 64, seed=[1, 2, 3])
    assert faces.images.shape == (3, 3, 64, 64)
    assert faces.images.dtype == faces.landmarks.dtype == torch.float32
    assert faces.landmarks.shape == (3, 49, 2)
    assert not faces.occluders.any()
    assert faces.images.min() >= 0
    assert faces.images.max() <= 1


def test_a_face_has_the_same_bytes_however_many_are_asked_for():
    rows, seeds = torch.rand(7, 18, generator=torch.Generator().manual_seed(1)), [5, 6, 7, 8, 9, 10, 11]
    occluders = ["none", "mask", "glasses_dark", "none", "fringe", "none", "none"]
    focus = [1, 0.2, 0.7, 1, 0.9, 0.5, 0.8]
    together = render_faces(rows, 72, seeds, occluder=occluders, focus=focus)
    for i in (0, 1, 4, 6):
        alone = render_faces(rows[i : i + 1], 72, seeds[i], occluder=occluders[i], focus=focus[i])
        for name in ("images", "landmarks", "occluders"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[i]), (i, name)
    backwards = render_faces(rows.flip(0), 72, seeds[::-1], occluder=occluders[::-1], focus=focus[::-1])
    assert torch.equal(backwards.images.flip(0), together.images)


def test_seeds_are_persons_and_scenes():
    same = render_faces(table({}, {12: 0.8}), 64, seed=3)
    assert torch.equal(same.images[0, :, :6, :6], same.images[1, :, :6, :6])  # background
    assert torch.equal(same.landmarks[0, :14], same.landmarks[1, :14])  # brows and bridge
    other = render_faces({}, 64, seed=[3, 4], scene=9)
    assert torch.equal(other.images[0, :, :6, :6], other.images[1, :, :6, :6])
    assert (other.landmarks[0] - other.landmarks[1]).abs().max() > 0.5
    places = render_faces({}, 64, seed=3, scene=[1, 2])
    assert (places.images[0, :, :6, :6] - places.images[1, :, :6, :6]).abs().mean() > 0.02
    assert torch.equal(render_faces({}, 64, 3).images, render_faces({}, 64, 3, scene=3).images)


@pytest.mark.parametrize("au", AUS)
def test_one_side_is_the_mirror_of_the_other(au):
    faces = render_faces(table({au: (0.9, 0)}, {au: (0, 0.9)}), 80, 8, **PLAIN)
    assert (faces.images[0].flip(-1) - faces.images[1]).abs().max() < 0.02
    assert_close(mirror_landmarks(faces.landmarks[0], 80), faces.landmarks[1], atol=1e-3, rtol=0)
    assert (faces.images[0] - faces.images[1]).abs().max() > 0.04


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (20, 0, 0), (-20, 8, -12), (12, -10, 20)])
def test_landmarks_lie_where_the_canvas_is_projected(monkeypatch, yaw, pitch, roll):
    """A dot drawn at a landmark of the canvas must be seen at that landmark of the image."""
    size, chosen = 160, [0, 9, 13, 16, 19, 28, 31, 37, 40]

    def dots(p, size, device):
        canvas = head.canvas_of(size, device)
        at = p["face"][:, chosen[dots.k]]
        spot = torch.exp(-((canvas.u[None, None] - at[:, 0, None, None]) ** 2
                           + (canvas.v[None, :, None] - at[:, 1, None, None]) ** 2) / 0.05**2)  # fmt: skip
        return torch.stack([0 * spot, 0 * spot, 0 * spot, spot, spot], 1)

    def dark(p, x, y):
        return torch.ones(len(x), 3, x.shape[1], y.shape[1])

    monkeypatch.setattr(render, "paint_head", dots)
    monkeypatch.setattr(render, "_backdrop", dark)
    monkeypatch.setattr(render, "_body", lambda *args: None)
    for dots.k, point in enumerate(chosen):
        pose = {**STILL, "yaw": yaw, "pitch": pitch, "roll": roll}
        faces = render_faces({12: 0.5}, size, 4, **pose)
        weight = (1 - grey(faces)[0] ** 2).clamp_min(0)
        weight = weight * (weight > 0.3 * weight.max())
        grid = torch.arange(size, dtype=torch.float32)
        seen = torch.stack([(weight * grid[None]).sum(), (weight * grid[:, None]).sum()]) / weight.sum()
        assert (seen - faces.landmarks[0, point]).norm() < 0.5, point


def test_features_are_drawn_at_their_landmarks():
    """Columns through the middle of a feature: brow, lash line and seam are darkest."""
    faces = render_faces({}, 200, seed=range(6), **{**PLAIN, "hair_colour": 0.1})
    dark = grey(faces)
    for i in range(6):
        for point, up, down in ((2, 6, 6), (7, 6, 6), (20, 4, 1), (26, 4, 1), (44, 4, 4)):  # below a lid is the pupil
            x, y = faces.landmarks[i, point].round().long().tolist()
            strip = dark[i, y - up : y + down + 1, x]
            assert abs(int(strip.argmin()) - up) <= (2 if point < 10 else 1), (i, point)


@pytest.mark.parametrize("au", AUS)
def test_an_au_at_c_changes_its_own_place_most(au):
    size, people = 100, [8, 21, 33, 47]
    style = {**PLAIN, "asymmetry": 1, "skin": [0.1, 0.4, 0.7, 1.0]}
    still = render_faces({}, size, people, scene=1, **style)
    moved = render_faces({au: 0.6}, size, people, scene=1, **style)
    change = (still.images - moved.images).abs().mean(1)
    for i in range(4):
        centers = au_centers(still.landmarks[i], [au])[0]
        region = disc(centers, 0.75 * float(ruler(still.landmarks[i])), size)
        inside, outside = change[i][region].mean(), change[i][~region].mean()
        assert inside > 3 * outside, (i, float(inside), float(outside))
        assert inside > 0.0035, i


@pytest.mark.parametrize("au", AUS)
def test_a_is_hard_and_e_unmistakable(au):
    """The change of an AU's own place grows at every letter, and is at A less than half of that at E."""
    size, letters = 100, list(INTENSITY.values())
    for person, skin in ((8, 0.1), (33, 0.9)):
        style = {**PLAIN, "asymmetry": 1, "skin": skin, "scene": 1}
        faces = render_faces(table({}, *[{au: x} for x in letters]), size, person, **style)
        near = disc(au_centers(faces.landmarks[0], [au])[0], 0.75 * float(ruler(faces.landmarks[0])), size)
        change = (faces.images[1:] - faces.images[0]).abs().mean(1)[:, near].mean(1)
        assert (change.diff() > 0).all()
        assert change[0] < 0.5 * change[-1]
        assert change[-1] > 0.006


def test_a_person_shows_an_au_a_little_stronger_on_one_side():
    """D43: the corners of the mouth go unequal ways, by at most ±25 %, unless asymmetry is 0."""
    seeds, worn = np.arange(200), np.zeros((200, len(coverings.OCCLUDERS)), dtype=bool)
    aus = np.zeros((200, len(AUS), 2))
    aus[:, AUS.index(12)] = 0.8
    share = {}
    for asymmetry in (0, 1):
        plan = render._plan(aus, seeds, seeds, {"asymmetry": asymmetry}, worn, 64)
        reach = np.linalg.norm(plan["face"] - plan["rest"], axis=-1)
        share[asymmetry] = reach[:, 31] / reach[:, 37]
    np.testing.assert_allclose(share[0], 1, atol=1e-5)
    assert 0.75 / 1.25 - 1e-5 < share[1].min() < 0.8
    assert 1.25 < share[1].max() < 1.25 / 0.75 + 1e-5
    assert (np.abs(np.log(share[1])) > 0.02).mean() > 0.8  # nearly everybody


@pytest.mark.parametrize(("au", "share"), [(1, 1.0), (2, 0.72), (9, 0.8), (15, 0.6), (20, 0.65)])
def test_creases_of_dark_skin_keep_most_of_their_contrast(au, share, monkeypatch):
    """Landmarks held still, the change of a picture at C, darkest over lightest skin (D57)."""
    monkeypatch.setattr(render.expression, "move", lambda face, aus: face.copy())
    people, style = [8, 21, 33, 47], {k: v for k, v in PLAIN.items() if k != "skin"}
    change = [(render_faces({au: 0.6}, 100, people, scene=1, skin=skin, **style).images
               - render_faces({}, 100, people, scene=1, skin=skin, **style).images).abs().mean() for skin in (0.1, 1.0)]
    assert change[1] > share * change[0]


def test_the_number_of_threads_changes_neither_the_bytes_nor_itself():
    one = render_faces({12: 0.5}, 100, range(5))
    torch.set_num_threads(2)
    two = render_faces({12: 0.5}, 100, range(5))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert torch.equal(one.images, two.images)


@pytest.mark.parametrize("name", coverings.OCCLUDERS)
def test_an_occluder_covers_what_its_mask_says(name):
    bare = render_faces({}, 96, [8, 9], **PLAIN)
    worn = render_faces({}, 96, [8, 9], occluder=name, **PLAIN)
    mask = worn.occluders
    assert 0.01 < mask.float().mean() < 0.35
    change = (worn.images - bare.images).abs().amax(1)
    near = torch.nn.functional.max_pool2d(mask[:, None].float(), 5, 1, 2)[:, 0] > 0
    assert change[~near].max() < 0.03
    assert (change[mask] > 0.02).float().mean() > 0.6
    assert torch.equal(worn.landmarks, bare.landmarks)


@pytest.mark.parametrize("name", coverings.OCCLUDERS)
def test_what_is_covered_leaves_no_trace_on_anyone(name):
    """Other people, poses and natural asymmetry: a cover hides all that its AUs do (D49)."""
    hidden = [au in coverings.OCCLUDERS[name] for au in AUS]
    shown = torch.rand(12, len(AUS), generator=torch.Generator().manual_seed(0)) * torch.tensor(hidden)
    rest = render_faces({}, 64, range(12), occluder=name)
    moved = render_faces(shown, 64, range(12), occluder=name)
    assert torch.equal(rest.images, moved.images)
    assert (rest.landmarks - moved.landmarks).abs().max() > 1  # the landmarks stay true …
    for mask, points in zip(moved.occluders, moved.landmarks, strict=True):
        x, y = points[list(coverings.UNDER[name])].round().long().unbind(-1)
        assert mask[y, x].float().mean() > 0.9  # … under the cover


@pytest.mark.parametrize("name", render.PERSON_SCENE)
def test_every_factor_shows(name):
    factor, base = render.PERSON_SCENE[name], {**PLAIN, "background": "gradient", "background_light": 0.5, "noise": 0.1}
    ends = {"background_hue": [0, 0.5], "hair": ["bald", "afro"], "background": ["plain", "blobs"]}  # hue is a circle
    ends = ends.get(name, [factor.names[0], factor.names[-1]] if factor.names else [factor.low, factor.high])
    faces = render_faces({12: 0.5}, 64, [8, 8], **{**base, name: ends})
    assert (faces.images[0] - faces.images[1]).abs().max() > 0.03


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 40}, "size must be a whole number of pixels from 48 to 1024, got 40"),
        ({"seed": -1}, "seed must be an int or a list of ints, 0 or more, got -1"),
        ({"occluder": "hat"}, "occluder must be none, fringe, glasses_dark, mask, or several joined"),
        ({"seed": [1, 2], "hair": []}, "for the same number of faces, got seed 2, scene 2, hair 0"),
        ({"occluder": ["mask", "hat"], "seed": [1, 2]}, "occluder must be none, fringe.* got 'hat'"),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_faces(**{"aus": {}, "size": 48, **arguments})


def test_an_unknown_factor_is_named_with_the_nearest():
    with pytest.raises(TypeError, match="knows no 'eye_color'; the nearest are eye_colour,"):
        render_faces({}, 48, eye_color=0.5)
