"""Photographs: geometry with a model that reads its position from the pixels, honesty, files, bad input."""

import csv
import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lorral_lite import photo as predict
from lorral_lite.files import DataError, data_file
from lorral_lite.landmarks import MIRROR, alignment, interocular, transform
from lorral_lite.model.lorral import LoRRaL, LoRRaLConfig
from lorral_lite.photo import (
    LIMITS,
    NOTE,
    find_face,
    find_faces,
    load_photo,
    nme,
    out_of_order,
    portrait,
    portrait_file,
    predict_image,
    predict_photo,
    shape_residual,
    verdict,
)

AUS = (6, 12, 25)
LOGITS = torch.tensor([2.0, -1.0, 0.25])


def map_photo(side: int) -> np.ndarray:
    """A photo whose colours say where they are: red is x, green is y, both as shares of its side.

    256 or 1530 pixels wide, so that neighbours differ by one level or are averaged before they are sampled.
    """
    ramp = np.round(np.linspace(0, 255, side)).astype(np.uint8)
    return np.dstack([np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.zeros((side, side), np.uint8)])


class Surveyor:
    """A stand-in for LoRRaL that reads in a map photo where its crop was taken and knows where the face is.

    ``face``: (49, 2) photo pixels. ``mirror_error``: pixels by which it errs on mirrored crops. ``asleep``: it always
    answers the mean shape, whatever it sees, as an untrained landmark head does.
    """

    def __init__(self, face, side, mean, mirror_error=0.0, asleep=False):
        self.config = LoRRaLConfig.lite(aus=AUS)
        self.face, self.side, self.mirror_error, self.asleep = face, side, mirror_error, asleep
        self.mean_shape = torch.as_tensor((mean + 0.5) / 88, dtype=torch.float32)
        self.training = True

    def eval(self):
        self.training = False

    def train(self, mode=True):
        self.training = mode

    def __call__(self, images):
        assert not self.training, "a photo must be seen in eval mode"
        assert images.shape[1:] == (3, 88, 88)
        assert images.dtype == torch.float32
        return SimpleNamespace(au_logits=LOGITS.repeat(len(images), 1),
                               landmarks=torch.as_tensor(np.stack([self.see(i) for i in images.numpy()])))

    def see(self, image):
        if self.asleep:
            return self.mean_shape.numpy() * 88 - 0.5
        y, x = np.mgrid[20:68, 20:68].reshape(2, -1)
        design = np.stack([x, y, np.ones_like(x)], 1)
        level = (image[:2, y, x].T + 1) / 2 + 0.5 / 255  # Pillow's bilinear sampling rounds colours down
        colours = level * (self.side - 1)  # photo pixels
        fit, *_ = np.linalg.lstsq(design, colours, rcond=None)
        points = (self.face - fit[2]) @ np.linalg.inv(fit[:2])
        if np.linalg.det(fit[:2]) < 0:  # a mirrored crop: left and right change names
            points = points[MIRROR] + [self.mirror_error, 0]
        return points.astype(np.float32)


def aligned_mean() -> np.ndarray:
    """The portrait's points as an aligned face in pixels of an 88 × 88 model input."""
    points = portrait()[1]
    return transform(points, alignment(points, 100)) - 6


def turned(points, degrees, ruler, centre):
    """The same face turned, scaled to an inter-ocular distance and moved."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    p = (points - points.mean(0)) / interocular(points) * ruler
    return p @ np.array([[c, s], [-s, c]]) + centre


def box_around(face) -> tuple:
    """About what a detector would say."""
    gap, middle = interocular(face), face.mean(0)
    return middle[0] - 1.1 * gap, middle[1] - 1.3 * gap, 2.3 * gap


def stage(degrees=0.0, gap=45, side=256, **options):
    """(model, photo, true landmarks, box) of a face somewhere in a map photo."""
    mean = aligned_mean()
    face = turned(mean, degrees, gap, [0.51 * side, 0.48 * side])
    return Surveyor(face, side, mean, **options), map_photo(side), face, box_around(face)


# ------------------------------------------------------------------------------------------------------------ geometry


def test_an_untrained_model_is_told_to_be_trained():
    model = LoRRaL(LoRRaLConfig.lite(aus=AUS)).eval()  # its mean shape is still zero
    with pytest.raises(DataError, match=r"the photo: the model's mean face is no face .*; train it first"):
        predict_image(model, np.full((120, 120, 3), 128, np.uint8), box=(10, 10, 100))


@pytest.mark.parametrize(("degrees", "gap", "side"), [(0, 45, 256), (17, 31, 256), (-25, 52, 256), (8, 300, 1530)])
def test_landmarks_come_back_to_photo_pixels_through_rotation_and_scale(degrees, gap, side):
    model, photo, face, box = stage(degrees, gap, side)
    prediction = predict_image(model, photo, box=box)
    assert np.abs(prediction.landmarks - face).max() < 0.01 * gap / 10  # a thousandth of the inter-ocular distance
    assert prediction.plausible
    assert prediction.reason == "landmarks hold together"
    np.testing.assert_allclose(prediction.probabilities, 1 / (1 + np.exp(-LOGITS.numpy().astype(float))))
    assert model.training, "the model must be left as it was found"


def test_second_pass_aligns_with_the_landmarks_of_the_first():
    model, photo, _, box = stage(degrees=20)
    x, y, side = box
    prediction = predict_image(model, photo, box=(x + 6, y - 5, 1.1 * side))
    eyes = prediction.aligned_landmarks[19:25].mean(0), prediction.aligned_landmarks[25:31].mean(0)
    assert eyes[1][1] == pytest.approx(eyes[0][1], abs=0.02)  # horizontal although the photo's face is turned
    assert prediction.aligned.shape == (88, 88, 3)
    np.testing.assert_allclose(prediction.aligned_landmarks, aligned_mean(), atol=0.05)  # mean of an aligned face


def test_large_photo_is_averaged_before_it_is_sampled():
    """Fine black and white stripes must become grey in a crop ten times smaller, not moiré."""
    photo = np.zeros((1530, 1530, 3), np.uint8)
    photo[:, ::2] = 255
    _, _, face, _ = stage(0, 310, 1530)
    aligned, _ = predict.aligned_crop(photo, face, 100)
    assert aligned[20:80, 20:80].std() < 10  # every second column: 127 without averaging


# ---------------------------------------------------------------------------------------------------------- plausible


def test_mirror_disagreement_in_percent_of_the_interocular_distance_withholds_the_action_units():
    for pixels in (1.0, 6.0):
        model, photo, _, box = stage(mirror_error=pixels)
        prediction = predict_image(model, photo, box=box)
        measured = prediction.measures["mirror"]
        assert measured == pytest.approx(100 * pixels / interocular(aligned_mean()), rel=0.02)
        assert prediction.plausible == (measured <= LIMITS["mirror"]) == (pixels == 1.0)
    assert prediction.probabilities is None
    assert prediction.reason.startswith("no plausible face: landmarks of the mirrored face differ by")
    assert prediction.line == f"action units withheld, {prediction.reason}; {NOTE}"


def test_a_model_that_ignores_the_picture_is_caught():
    model, photo, _, box = stage(asleep=True)
    prediction = predict_image(model, photo, box=box)
    assert prediction.measures["mirror"] < 15  # the mirror alone may miss it: the mean shape is almost symmetric
    assert not prediction.plausible
    assert prediction.probabilities is None
    assert prediction.landmarks.shape == (49, 2)  # the points are there all the same


@pytest.mark.parametrize("key", list(LIMITS))
def test_every_measure_has_a_limit(key):
    assert verdict(LIMITS) == (True, "landmarks hold together")
    for bad in (LIMITS[key] + 0.1, float("nan"), float("inf")):
        plausible, reason = verdict({**LIMITS, key: bad})
        assert not plausible
        assert reason.startswith("no plausible face: ")


@pytest.mark.parametrize(("change", "words"), [
    (lambda p: p * [1, -1], "one below the other"),
    (lambda p: p * [-1, 1], "changed sides"),
    (lambda p: np.where(np.arange(49)[:, None] < 10, p + [0, 40], p), "brows"),
    (lambda p: np.where(np.isin(np.arange(49), [22])[:, None], p - [14, 0], p), "inner corners"),
    (lambda p: np.where(np.isin(np.arange(49), [31, 37])[:, None], p[[37 if i == 31 else 31 for i in range(49)]], p),
     "mouth corners"),
    (lambda p: p * np.nan, "not a number"),
])  # fmt: skip
def test_faces_that_break_the_order_of_a_face(change, words):
    assert out_of_order(aligned_mean()) == ""
    assert words in out_of_order(change(aligned_mean()))


def test_collapsed_landmarks_give_a_verdict_and_no_crash():
    model, photo, _, box = stage()
    model.face = np.full((49, 2), 200.0)
    prediction = predict_image(model, photo, box=box)
    assert not prediction.plausible
    assert prediction.probabilities is None


def test_shape_residual_is_what_least_squares_leaves(rng):
    mean = aligned_mean().astype(float)
    assert shape_residual(turned(mean, 33, 11, [5, -7]), mean) < 1e-9  # a similarity leaves nothing
    points = mean + rng.normal(0, 2, mean.shape)
    design = np.zeros((98, 4))  # unknowns a, b, tx, ty of x' = a x − b y + tx, y' = b x + a y + ty
    design[0::2] = np.stack([mean[:, 0], -mean[:, 1], np.ones(49), np.zeros(49)], 1)
    design[1::2] = np.stack([mean[:, 1], mean[:, 0], np.zeros(49), np.ones(49)], 1)
    solution, *_ = np.linalg.lstsq(design, points.reshape(-1), rcond=None)
    left = points - (design @ solution).reshape(49, 2)
    expected = 100 * np.mean([np.hypot(x, y) for x, y in left]) / interocular(points)
    assert shape_residual(points, mean) == pytest.approx(expected, rel=1e-9)


# ------------------------------------------------------------------------------------------------ the measured portrait


def test_nme_in_closed_form():
    _, reference = portrait()
    assert nme(reference, reference) == 0
    assert nme(reference + [3, 4], reference) == pytest.approx(100 * 5 / interocular(reference))
    assert nme(SimpleNamespace(landmarks=reference + [3, 4]), reference) == nme(reference + [3, 4], reference)


def test_reference_is_the_mean_of_its_two_passes():
    passes = np.loadtxt(data_file("protocol", "astronaut_49_passes.csv"), delimiter=",", skiprows=1)[:, 1:]
    np.testing.assert_allclose((passes[:, :2] + passes[:, 2:]) / 2, portrait()[1], atol=0.06)  # rounded to 0.1


def test_reference_is_a_face_in_our_scheme_where_the_detector_finds_one():
    image, reference = portrait()
    np.testing.assert_array_equal(load_photo(portrait_file()), image)
    assert out_of_order(reference) == ""
    x, y, side = find_face(image)
    assert (reference >= [x, y]).all()
    assert (reference <= [x + side, y + side]).all()


def test_large_photos_are_shrunk_for_the_detector_and_the_largest_face_wins(monkeypatch):
    seen = []

    class Detector:
        def __init__(self, file):
            pass

        def detect_multi_scale(self, image, **_):
            seen.append(image.shape)
            return [{"c": 10, "r": 20, "width": 30, "height": 30}, {"c": 40, "r": 50, "width": 60, "height": 60}]

    monkeypatch.setattr(predict, "Cascade", Detector)
    assert find_face(np.zeros((1280, 2560, 3), np.uint8)) == (160.0, 200.0, 240.0)
    assert seen == [(320, predict.DETECT_AT, 3)]


def test_a_photo_of_two_faces_says_which_one_is_read(monkeypatch, on_file):
    def detector(*boxes):
        found = [{"c": c, "r": 0, "width": width, "height": width} for c, width in boxes]
        return lambda file: SimpleNamespace(detect_multi_scale=lambda image, **_: found)

    image = np.zeros((640, 640, 3), np.uint8)
    for boxes, count in (([(0, 90), (300, 100)], 2), ([(300, 100), (310, 90)], 1), ([(0, 50), (300, 100)], 1)):
        monkeypatch.setattr(predict, "Cascade", detector(*boxes))
        found = find_faces(image)
        assert len(found) == count
        assert found[0] == (300.0, 0.0, 100.0)
    here = predict.find_faces(image)[0]
    monkeypatch.setattr(predict, "find_faces", lambda *_: [here, (0.0, 0.0, 9.0)])
    assert predict_photo(on_file.model, on_file.path, on_file.out).line.startswith("the largest of 2 faces: AU6 0.88")
    assert json.loads((on_file.out / "prediction.json").read_text(encoding="utf8"))["faces"] == 2


# --------------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def on_file(tmp_path, monkeypatch):
    """A photo on disk with a face that a plausible model sees; ``find_faces`` says where."""
    model, photo, face, box = stage(degrees=10)
    Image.fromarray(photo).save(tmp_path / "map.png")
    monkeypatch.setattr(predict, "find_faces", lambda *_: [box])
    return SimpleNamespace(model=model, path=tmp_path / "map.png", face=face, out=tmp_path / "out")


def rows(file):
    with open(file, newline="", encoding="utf8") as handle:
        return list(csv.DictReader(handle))


def test_four_files_that_all_say_what_the_model_was_trained_on(on_file):
    prediction = predict_photo(on_file.model, on_file.path, on_file.out)
    assert sorted(f.name for f in on_file.out.iterdir()) == ["aus.csv", "landmarks.csv", "overlay.png",
                                                             "prediction.json"]
    table = rows(on_file.out / "aus.csv")
    assert [(r["au"], r["name"], r["probability"], r["present"], r["withheld"]) for r in table] == [
        ("6", "Cheek raiser", "0.8808", "1", "0"), ("12", "Lip corner puller", "0.2689", "0", "0"),
        ("25", "Lips part", "0.5622", "1", "0"),
    ]  # fmt: skip
    points = rows(on_file.out / "landmarks.csv")
    np.testing.assert_allclose([[float(r["x"]), float(r["y"])] for r in points], on_file.face, atol=0.1)
    document = json.loads((on_file.out / "prediction.json").read_text(encoding="utf8"))
    assert document["withheld"] is False
    assert document["probabilities"]["6"] == 0.8808
    assert document["mirror_disagreement_percent"] < 1
    assert {r["note"] for r in table} | {r["note"] for r in points} == {NOTE}
    assert document["note"] == NOTE
    with Image.open(on_file.out / "overlay.png") as png:
        assert png.text["Description"] == NOTE
    assert prediction.line == f"AU6 0.88, AU25 0.56; {NOTE}"


def test_withheld_action_units_leave_no_number_in_any_file(on_file):
    on_file.model.mirror_error = 20.0
    prediction = predict_photo(on_file.model, on_file.path, on_file.out)
    assert prediction.probabilities is None
    for row in rows(on_file.out / "aus.csv"):
        assert (row["probability"], row["present"], row["withheld"], row["note"]) == ("", "", "1", NOTE)
    document = json.loads((on_file.out / "prediction.json").read_text(encoding="utf8"))
    assert document["probabilities"] is None
    assert document["withheld"] is True
    assert document["reason"] == prediction.reason
    assert len(rows(on_file.out / "landmarks.csv")) == 49


@pytest.mark.parametrize("name", ["a$b$.png", "$\\frac{$.png", "$x_{$.png", "5$ and 6$_.png", "a\nb.png", "x" * 200])
def test_a_name_is_no_formula(on_file, name):
    prediction = predict_image(on_file.model, load_photo(on_file.path), name)
    predict.write_prediction(prediction, load_photo(on_file.path), on_file.out)
    assert json.loads((on_file.out / "prediction.json").read_text(encoding="utf8"))["photo"] == name


def test_overlay_says_note_and_reason(on_file):
    on_file.model.mirror_error = 20.0
    image = load_photo(on_file.path)
    prediction = predict_image(on_file.model, image, "map.png")

    def words(figure):
        import matplotlib.text

        return " ".join(" ".join(t.get_text().split()) for t in figure.findobj(matplotlib.text.Text)).lower()

    withheld = words(predict.overlay(prediction, image))
    assert NOTE in withheld
    assert prediction.reason in withheld
    assert "0.88" not in withheld
    on_file.model.mirror_error = 0.0
    assert "0.88" in words(predict.overlay(predict_image(on_file.model, image, "map.png"), image))


def test_the_portrait_brings_its_own_reference(tmp_path):
    model, _, _, _ = stage(asleep=True)
    prediction = predict_photo(model, portrait_file(), tmp_path / "out")
    assert prediction.nme_percent == pytest.approx(nme(prediction.landmarks, portrait()[1]))
    assert f"landmark error {prediction.nme_percent:.1f} %" in prediction.line


@pytest.mark.parametrize("broken", ["overlay.png", "aus.csv", "prediction.json"])
def test_nothing_half_written_stays(on_file, monkeypatch, broken):
    replace = os.replace

    def explode(source, target):
        if target.name == broken:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", explode)
    with pytest.raises(DataError) as error:
        predict_photo(on_file.model, on_file.path, on_file.out)
    assert str(error.value) == (f"{on_file.out / broken}: cannot be written (No space left on device); free some space "
                                "or choose another folder")
    left = [f.name for f in on_file.out.iterdir()]
    assert not [name for name in left if "partial" in name]
    assert not {broken, "prediction.json"} & set(left)


# ----------------------------------------------------------------------------------------------------------- bad input


def test_exif_orientation_is_obeyed(tmp_path):
    photo = Image.fromarray(map_photo(64)).crop((0, 0, 64, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to see it upright
    photo.save(tmp_path / "turned.png", exif=exif)
    seen = load_photo(tmp_path / "turned.png")
    assert seen.shape == (64, 40, 3)
    np.testing.assert_array_equal(seen, np.rot90(np.asarray(photo), -1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_other_modes_become_rgb(tmp_path, mode):
    file = tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png")
    Image.fromarray(map_photo(32)).convert(mode).save(file)
    assert load_photo(file).shape == (32, 32, 3)
    assert load_photo(file).dtype == np.uint8


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    deep = (np.arange(64, dtype=np.uint16) * 1024).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(load_photo(tmp_path / "deep.png")[..., 0], deep // 256)


def half_a_jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(map_photo(200)).save(file, "JPEG")
    return file.getvalue()[:2000]


UNREADABLE = {
    "truncated.jpg": (half_a_jpeg(), "not readable as an image (image file is truncated"),
    "empty.jpg": (b"", "not readable as an image (empty file)"),
    "text.jpg": (b"this is no picture\n" * 20, "not readable as an image (unknown format)"),
    "missing.jpg": (None, "no such file"),
    ".": (None, "is a folder"),
}


@pytest.mark.parametrize("name", list(UNREADABLE))
def test_unreadable_files_give_one_line_with_file_reason_and_remedy(tmp_path, name):
    (content, reason), path = UNREADABLE[name], tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        predict_photo(stage()[0], path, tmp_path / "out")
    line = str(error.value)
    assert line.startswith(f"{path}: {reason}")
    assert "; " in line  # and a remedy
    assert "\n" not in line
    assert not (tmp_path / "out").exists()


def test_a_picture_bomb_is_refused(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "bomb.png")
    for limit in (9000, 4000):  # Pillow warns above the limit and refuses above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match="more pixels than is safe to open; shrink it first"):
            load_photo(tmp_path / "bomb.png")


@pytest.mark.parametrize("shape", [(1, 1, 3), (23, 400, 3), (300, 200, 3)])
def test_no_face_gives_one_line(tmp_path, rng, shape):
    Image.fromarray(rng.integers(0, 255, shape).astype(np.uint8)).save(tmp_path / "noise.png")
    with pytest.raises(DataError) as error:
        predict_photo(stage()[0], tmp_path / "noise.png", tmp_path / "out")
    assert str(error.value).startswith(f"no face found in {tmp_path / 'noise.png'}: it must show one face")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
