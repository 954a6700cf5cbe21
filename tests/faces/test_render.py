"""Pixels: repeatable, symmetric where faces are, landmarks where features are, AUs where FACS looks for them."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lorral_lite.faces import AUS, coverings, head, render, render_faces
from lorral_lite.facs import INTENSITY
from lorral_lite.landmarks import au_centers, interocular, mirror_landmarks, ruler

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
    assert faces.occluders.shape == (3, 64, 64)
    assert faces.occluders.dtype == torch.bool
    assert not faces.occluders.any()
    assert faces.images.min() >= 0
    assert faces.images.max() <= 1
    assert faces.images.isfinite().all()


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


def test_curves_run_through_their_knots():
    x = torch.tensor([[-0.7, -0.4, -0.1, 0.0, 0.5]])
    y = torch.tensor([[1.0, 0.6, 0.7, 0.2, 0.9]])
    assert_close(head.curve(x, y, x[0]), y)
    line = head.curve(x, 2 * x + 1, torch.linspace(-1, 1, 21))
    assert_close(line, 2 * torch.linspace(-1, 1, 21)[None] + 1)


def test_faces_have_the_size_of_unaligned_faces_and_stay_inside():
    faces = render_faces({26: 1.0, 25: 1.0}, 100, seed=range(60))
    share = ruler(faces.landmarks) / 100
    assert 0.12 < share.min() < share.max() < 0.20
    assert faces.landmarks.min() > 3
    assert faces.landmarks.max() < 97
    assert (interocular(faces.landmarks) > 1.5 * ruler(faces.landmarks)).all()


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


def test_an_open_mouth_has_teeth_and_a_dark_inside():
    faces = render_faces(table({}, {25: 1.0, 26: 1.0}), 200, 8, **PLAIN)
    top, low = faces.landmarks[1, [44, 47], 1].round().long().tolist()
    x = int(faces.landmarks[1, 44, 0].round())
    column = grey(faces)[1, top : low + 1, x - 3 : x + 4].mean(1)
    assert low - top > 10
    assert column[: len(column) // 2].max() > 0.45  # teeth above
    assert column.min() < 0.15  # the mouth behind them
    closed = grey(faces)[0, top : low + 1, x - 3 : x + 4]
    assert closed.min() > 0.15


@pytest.mark.parametrize("au", [1, 2, 4, 6, 9, 12, 14, 17, 23])
def test_the_sign_on_the_skin_grows_with_intensity(au, monkeypatch):
    """Landmarks held still: what changes is furrows and bulges alone."""
    monkeypatch.setattr(render.expression, "move", lambda face, aus: face.copy())
    steps = [0, 0.2, 0.4, 0.7, 1.0]
    faces = render_faces(table(*[{au: x} for x in steps]), 120, 8, **{**PLAIN, "skin": 0.9})
    change = (faces.images[1:] - faces.images[:1]).abs().mean((1, 2, 3))
    assert (change.diff() > 0).all()
    assert change[0] > 0


@pytest.mark.parametrize(("au", "share"), [(1, 1.0), (2, 0.72), (9, 0.8), (15, 0.6), (20, 0.65)])
def test_creases_of_dark_skin_keep_most_of_their_contrast(au, share, monkeypatch):
    """Landmarks held still, the change of a picture at C, darkest over lightest skin (D57)."""
    monkeypatch.setattr(render.expression, "move", lambda face, aus: face.copy())
    people, style = [8, 21, 33, 47], {k: v for k, v in PLAIN.items() if k != "skin"}
    change = [(render_faces({au: 0.6}, 100, people, scene=1, skin=skin, **style).images
               - render_faces({}, 100, people, scene=1, skin=skin, **style).images).abs().mean() for skin in (0.1, 1.0)]
    assert change[1] > share * change[0]


# AU → where its crease is deepest on the right half, (x, v) in rulers.
CREASES = {1: (0, -1.2), 2: (0.92, -1.2), 4: (0.16, -0.44), 6: (1.35, 0.05), 7: (0.85, 0.25), 9: (0.1, 0.05),
           10: (0.55, 1.15), 12: (0.9, 1.4), 14: (0.75, 1.65), 15: (0.85, 1.95), 17: (0, 2.2), 20: (1.0, 1.65),
           23: (0, 1.38)}  # fmt: skip


@pytest.mark.parametrize(("au", "place"), CREASES.items())
def test_each_furrow_lies_where_facs_says(au, place):
    canvas = head.canvas_of(100, torch.device("cpu"))
    seeds, given = np.array([8, 8]), {**PLAIN}
    rows = table({}, {au: 1.0}).double().numpy()
    plan = render._plan(rows, seeds, seeds, given, np.zeros((2, len(coverings.OCCLUDERS)), dtype=bool), 100)
    p = {k: torch.from_numpy(v) for k, v in plan.items()}
    hollow = torch.zeros(2, canvas.height, canvas.width)
    head._creases(p, head.half_faces(p), canvas, hollow)
    deeper = hollow[1] - hollow[0]
    near = (canvas.u[None].abs() - place[0]) ** 2 + (canvas.v[:, None] - place[1]) ** 2 < 0.35**2
    assert deeper[near].max() > 0.3
    assert deeper[near].max() > 0.6 * deeper.max()


def test_light_comes_from_where_it_is_said():
    style = {k: v for k, v in PLAIN.items() if k != "light_azimuth"}
    faces = render_faces({}, 64, 8, light_azimuth=[-60, 60], **style)
    left, right = grey(faces)[:, 24:44, 14:28].mean((1, 2)), grey(faces)[:, 24:44, 36:50].mean((1, 2))
    assert left[0] > right[0] + 0.05
    assert right[1] > left[1] + 0.05


def test_light_stays_in_the_room_when_the_head_turns():
    given = {"yaw": 20, "roll": 15, "pitch": -10, "light_azimuth": 50}
    covers = np.zeros((1, len(coverings.OCCLUDERS)), dtype=bool)
    plan = render._plan(np.zeros((1, 18, 2)), np.array([1]), np.array([1]), given, covers, 64)
    assert np.allclose(plan["spin"][0] @ plan["light_head"][0], plan["light"][0], atol=1e-6)
    assert plan["light"][0, 0] > 0.5  # from the right


def test_the_number_of_threads_changes_neither_the_bytes_nor_itself():
    one = render_faces({12: 0.5}, 100, range(5))
    torch.set_num_threads(2)
    two = render_faces({12: 0.5}, 100, range(5))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert torch.equal(one.images, two.images)


def test_pose_moves_the_nose_the_way_it_is_said():
    turned = {k: v for k, v in STILL.items() if k not in ("yaw", "pitch", "roll")}
    faces = render_faces({}, 64, 8, yaw=[0, 15, 0, 0], pitch=[0, 0, 10, 0], roll=[0, 0, 0, 10], **turned)
    eyes = faces.landmarks[:, 19:31].mean(1)
    nose = faces.landmarks[:, 13] - eyes
    assert nose[1, 0] > nose[0, 0] + 1
    assert nose[2, 1] < nose[0, 1] - 0.5
    assert faces.landmarks[3, 19, 1] < faces.landmarks[3, 28, 1] - 2  # clockwise: the left eye rises


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


def test_occluders_join():
    both = render_faces({}, 64, 8, occluder="fringe+mask", **PLAIN).occluders
    apart = render_faces({}, 64, [8, 8], occluder=["fringe", "mask"], **PLAIN).occluders
    assert torch.equal(both[0], apart[0] | apart[1])


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
        ({"aus": {3: 1}}, "aus: unknown action unit 3"),
        ({"aus": {12: 2}}, "aus: intensity of AU12 must lie between 0 and 1, got 2"),
        ({"aus": torch.zeros(1, 5)}, r"aus must be of shape \(N, 18\) or \(N, 18, 2\), got \(1, 5\)"),
        ({"size": 40}, "size must be a whole number of pixels from 48 to 1024, got 40"),
        ({"size": 99.5}, "size must be a whole number of pixels from 48 to 1024, got 99.5"),
        ({"seed": -1}, "seed must be an int or a list of ints, 0 or more, got -1"),
        ({"scene": 1.5}, "scene must be an int or a list of ints, 0 or more, got 1.5"),
        ({"yaw": 25}, "yaw must lie between -20 and 20, got 25"),
        ({"pitch": float("inf")}, "pitch must lie between -15 and 15, got inf"),
        ({"roll": float("nan")}, "roll must lie between -20 and 20, got nan"),
        ({"occluder": "hat"}, "occluder must be none, fringe, glasses_dark, mask, or several joined"),
        ({"background": "sea"}, "background must be one of plain, gradient, blobs, bars, got 'sea'"),
        ({"aus": torch.zeros(3, 18), "seed": [1, 2]}, "for the same number of faces, got aus 3, seed 2, scene 2"),
        ({"seed": 1, "scene": [1, 2], "age": [0.1, 0.2, 0.3]}, "for the same number of faces, got scene 2, age 3"),
        ({"seed": [1, 2], "hair": []}, "for the same number of faces, got seed 2, scene 2, hair 0"),
        ({"occluder": ["mask", "hat"], "seed": [1, 2]}, "occluder must be none, fringe.* got 'hat'"),
        ({"occluder": 3}, "occluder must be none, fringe.* got '3'"),
        ({"aus": {"12": 1}}, "aus: unknown action unit '12', choose from 1, 2, 4"),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_faces(**{"aus": {}, "size": 48, **arguments})


def test_an_unknown_factor_is_named_with_the_nearest():
    with pytest.raises(TypeError, match="knows no 'eye_color'; the nearest are eye_colour,"):
        render_faces({}, 48, eye_color=0.5)


@pytest.mark.parametrize("count", [1, 23])
def test_faces_are_painted_in_blocks_of_one_size(count, monkeypatch):
    """Constant memory, and the same operations for a face whether it is asked for alone or not."""
    sizes, original = [], render.paint_head
    monkeypatch.setattr(render, "paint_head", lambda p, *rest: (sizes.append(len(p["age"])), original(p, *rest))[1])
    render_faces({}, 60, range(count))
    assert sizes == [11] * -(-count // 11)


def test_a_draw_of_many_faces_is_varied():
    faces = render_faces({}, 48, seed=range(24))
    flat = faces.images.flatten(1)
    gap = np.array([[float((a - b).abs().mean()) for b in flat] for a in flat]) + np.eye(24)
    assert gap.min() > 0.04
