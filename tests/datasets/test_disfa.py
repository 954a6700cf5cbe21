"""DISFA: every layout gives the same rows, each broken file is skipped with file, row and reason, the counts agree."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from test_bp4d import edit, skipped

from lorral_lite.datasets.checking import check
from lorral_lite.datasets.disfa import AUS, counts_from, disfa, landmark_files
from lorral_lite.datasets.folds import protocol_parts
from lorral_lite.datasets.preparing import checked, prepare_sequences
from lorral_lite.datasets.stand_in import (
    DISFA_CODED,
    DISFA_IMAGES,
    write_csv,
    write_disfa,
    write_v73_landmarks,
    write_video,
)
from lorral_lite.files import DataError, data_file
from lorral_lite.landmarks import alignment, transform

SIZE = 48


def prepare(root, out, strict=False, **choices):
    source = disfa(root, **choices)
    return prepare_sequences(out, root, source.sequences, SIZE, source.aus, source.meta, workers=1, strict=strict,
                             progress=False, say=lambda line: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_disfa(tmp_path_factory.mktemp("disfa") / "DISFA", images="LeftVideoSN001_comp_0001.png")


@pytest.fixture
def root(made, tmp_path):
    """A copy of the stand-in that a test may break."""
    return Path(shutil.copytree(made.root, tmp_path / "DISFA"))


def assert_same_as(made, folder):
    """Index, labels and landmarks of a prepared folder are those that the stand-in was made of."""
    index = [*zip(folder.subjects, folder.tasks, folder.frames.tolist(), strict=True)]
    assert index == made.index
    np.testing.assert_array_equal(folder.labels, made.labels)
    expected = [transform(points, alignment(points, SIZE)) for points in made.landmarks]
    np.testing.assert_allclose(folder.landmarks, expected, atol=1e-3)


LAYOUTS = {
    "as distributed": {},
    "capital C": {"capital": True},
    "one landmark file too many": {"extra": True},
    "landmarks from one": {"landmark_names": "one"},
    "landmarks from one, one too many": {"landmark_names": "one", "extra": True},
    "frame_lm": {"landmark_folder": "frame_lm"},
    "folder of a camera in the plural": {"cameras": ("right",), "right_folder": "Videos_RightCamera"},
    "folder of a camera in the singular": {"cameras": ("right",), "right_folder": "Video_RightCamera"},
    **{name: {"images": name} for name in DISFA_IMAGES},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(tmp_path, layout):
    if LAYOUTS[layout].get("images", "avi") == "avi":
        pytest.importorskip("av")
    made = write_disfa(tmp_path / "d", ("SN002", "SN031"), 5, **LAYOUTS[layout])
    camera = LAYOUTS[layout].get("cameras", ("left",))[0]
    folder = prepare(tmp_path / "d", tmp_path / "p", camera=camera)
    assert_same_as(made, folder)
    assert skipped(folder) == []
    assert folder.meta["licensed"] is True
    if camera == "right":  # and it is not just any folder that is read
        assert disfa(tmp_path / "d").missing[1:] == [f"{who}: no pictures or video (left camera)" for who in
                                                     ("SN002", "SN031")]


@pytest.mark.parametrize("images", ["avi", *DISFA_IMAGES])
def test_picture_i_belongs_to_label_line_i_plus_1(tmp_path, images):
    """Frame k is k grey levels × 20: the classic off-by-one would move every face by 20."""
    if images == "avi":
        av = pytest.importorskip("av")
    write_disfa(tmp_path / "d", ("SN001",), 5, images=images)
    if images == "avi":
        with av.open(str(tmp_path / "d/Videos_LeftCamera/LeftVideoSN001_comp.avi"), "w") as container:
            stream = container.add_stream("mjpeg", rate=20, width=128, height=96, pix_fmt="yuvj420p")
            for k in range(1, 6):
                grey = np.full((96, 128, 3), 20 * k, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(stream.encode())
    else:
        zero = "0" in images.split(".")[0].split("_")[-1] and "0001" not in images
        for path in (tmp_path / "d" / "Videos_LeftCamera").rglob("*.*g"):
            number = int("".join(c for c in path.stem.split("_")[-1] if c.isdigit())) + zero
            Image.new("RGB", (128, 96), (20 * number,) * 3).save(path)
    folder = prepare(tmp_path / "d", tmp_path / "p")
    middle = folder.images[:, SIZE // 2, SIZE // 2].mean(-1)
    np.testing.assert_allclose(middle, 20 * folder.frames, atol=3)


def test_the_camera_is_a_choice(tmp_path):
    write_disfa(tmp_path / "d", ("SN001",), 3, images="LeftVideoSN001_comp_0001.png", cameras=("left", "right"))
    for camera in ("left", "right"):
        source = disfa(tmp_path / "d", camera=camera)
        images = checked(source.sequences[0]).images
        assert all(f"{camera.capitalize()}VideoSN001" in path.as_posix() for path in images)
        assert source.meta["choices"]["camera"] == camera
    write_disfa(tmp_path / "e", ("SN001",), 3, images="0.png")
    (tmp_path / "e" / "Videos_LeftCamera").rename(tmp_path / "e" / "Images")
    source = disfa(tmp_path / "e", camera="right")
    assert "SN001: Images/SN001 names no camera; read as the right one" in source.found
    assert len(checked(source.sequences[0]).numbers) == 3
    (tmp_path / "e" / "Images").rename(tmp_path / "e" / "LEFT")
    source = disfa(tmp_path / "e", camera="right")
    assert "SN001: no pictures or video (right camera)" in source.missing


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_the_threshold_is_a_choice(root, made, tmp_path, threshold):
    levels = [np.loadtxt(root / f"ActionUnit_Labels/SN001/SN001_au{au}.txt", delimiter=",")[:, 1] for au in AUS]
    folder = prepare(root, tmp_path / "p", threshold=threshold, subjects=["SN001"])
    np.testing.assert_array_equal(folder.labels, np.stack(levels, 1) >= threshold)
    assert folder.meta["choices"]["threshold"] == threshold


def test_the_listed_landmark_problems_are_left_out_by_jaa_alone(tmp_path):
    """SN002's list is 799 to 825, counted from 0: of frames 796 … 830 these are labels 800 … 826."""
    for au in AUS:
        write_csv(tmp_path / f"d/ActionUnit_Labels/SN002/SN002_au{au}.txt", [(n, 0) for n in range(796, 831)])
    source = disfa(tmp_path / "d", frames="jaa")
    assert checked(source.sequences[0]).absent == 27
    place = tmp_path / "d/Landmark_Points/SN002/tmp_frame_lm"
    place.mkdir(parents=True)
    points = np.random.default_rng(0).uniform(30, 60, (66, 2))
    for n in range(796, 831):
        savemat(place / f"SN002_{n - 1:04d}_lm.mat", {"pts": points})
        path = tmp_path / f"d/Videos_LeftCamera/SN002/{n - 1}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 90)).save(path)
    Image.new("RGB", (90, 90)).save(tmp_path / "d/Videos_LeftCamera/SN002/0.png")
    read = checked(disfa(tmp_path / "d", frames="jaa").sequences[0])
    assert [skip.row for skip in read.skips] == [*range(800, 827)]
    assert {skip.reason for skip in read.skips} == {"left out by --frames jaa: listed landmark problem"}
    assert len(checked(disfa(tmp_path / "d").sequences[0]).numbers) == 35


def test_sn031_takes_the_landmarks_of_the_frame_before(tmp_path):
    """D65, with the labels moved so that frame 3631 is among few."""
    place = tmp_path / "d/Landmark_Points/SN031/tmp_frame_lm"
    place.mkdir(parents=True)
    for au in AUS:
        write_csv(tmp_path / f"d/ActionUnit_Labels/SN031/SN031_au{au}.txt", [(n, 0) for n in (3629, 3630, 3631)])
    points = np.random.default_rng(0).uniform(30, 60, (66, 2))
    for n in (3629, 3630, 3631):
        savemat(place / f"l{n:05d}_lm.mat", {"pts": points + n - 3629})
        path = tmp_path / f"d/Left/SN031/{n - 1}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 90)).save(path)
    Image.new("RGB", (90, 90)).save(tmp_path / "d/Left/SN031/0.png")
    read = checked(disfa(tmp_path / "d").sequences[0])
    np.testing.assert_allclose(read.landmarks[:, :, 0] - points[17:, 0], [[-1] * 49, [0] * 49, [0] * 49], atol=1e-4)
    assert read.filled.tolist() == [False, False, True]


def test_counting_from_zero_or_one_is_seen_or_refused():
    assert counts_from({0: 1, 1: 1}, 2) == 0
    assert counts_from(dict.fromkeys(range(5)), 4) == 0  # a picture too many at the end
    assert counts_from({1: 1, 2: 1}, 2) == 1
    assert counts_from({2: 1}, 2) == 1  # the first one is missing
    with pytest.raises(DataError, match="neither picture 0 nor 4; restore"):
        counts_from({1: 1, 2: 1}, 4)
    with pytest.raises(DataError, match="there are no pictures"):
        counts_from({}, 4)


def test_landmark_files_go_by_their_name(tmp_path):
    for name in ("SN001_0000_lm.mat", "SN001_0002_lm.mat"):
        (tmp_path / name).write_bytes(b"")
    assert {n: path.name for n, path in landmark_files(tmp_path, 3).items()} == {
        1: "SN001_0000_lm.mat", 3: "SN001_0002_lm.mat"}


# --- bad input: each with a real broken file ----------------------------------------------------------------------

LABEL = "ActionUnit_Labels/SN001/SN001_au4.txt"
POINTS = "Landmark_Points/SN001/tmp_frame_lm"
MAT = f"{POINTS}/SN001_0002_lm.mat"
PICTURES = "Videos_LeftCamera/LeftVideoSN001_comp"
PICTURE = f"{PICTURES}/LeftVideoSN001_comp_0003.png"


def append(root, text):
    with open(root / LABEL, "a") as file:
        file.write(text)


def cut_picture(root):
    (root / PICTURE).write_bytes((root / PICTURE).read_bytes()[:-500])


def loop(root):
    (root / PICTURE).unlink()
    (root / PICTURE).symlink_to((root / PICTURE).name)


def first_and_last_gone(root):
    (root / PICTURES / "LeftVideoSN001_comp_0006.png").unlink()


BROKEN = {  # what breaks it, lost frames of SN001's six, file, row, reason
    "missing picture": (lambda r: (r / PICTURE).unlink(), 1, PICTURES, 3, "no picture of frame 3"),
    "truncated picture": (cut_picture, 1, PICTURE, 3, "not readable as a picture"),
    "picture that links to itself": (loop, 1, PICTURE, 3, "not readable as a picture"),
    "from zero or one": (first_and_last_gone, 6, PICTURES, 1, "cannot be told whether pictures count from 0 or 1"),
    "no pictures": (lambda r: shutil.rmtree(r / PICTURES), 6, "SN001", 1, "no pictures or video of this subject"),
    "no landmarks": (lambda r: shutil.rmtree(r / POINTS), 6, "SN001", 1, "no landmarks of this subject"),
    "missing .mat": (lambda r: (r / MAT).unlink(), 1, POINTS, 3, "no landmark file of frame 3"),
    "zero-byte .mat": (lambda r: (r / MAT).write_bytes(b""), 1, MAT, 3, "is empty"),
    "text .mat": (lambda r: (r / MAT).write_text("hello" * 100), 1, MAT, 3, "not readable as MATLAB v5"),
    "cut .mat": (lambda r: (r / MAT).write_bytes((r / MAT).read_bytes()[:300]), 1, MAT, 3, "not readable as MATLAB v5"),
    "v7.3 .mat": (lambda r: write_v73_landmarks(r / MAT, [None]), 1, MAT, 3, "is MATLAB v7.3"),
    "other variable": (lambda r: savemat(r / MAT, {"points": 1}), 1, MAT, 3, "has no variable pts"),
    "68 landmarks": (lambda r: savemat(r / MAT, {"pts": np.ones((68, 2))}), 1, MAT, 3, "shape (68, 2), not (66, 2)"),
    "landmarks all zero": (lambda r: savemat(r / MAT, {"pts": np.zeros((66, 2))}), 1, MAT, 3, "the same point"),
    "landmark NaN": (lambda r: savemat(r / MAT, {"pts": np.full((66, 2), np.nan)}), 1, MAT, 3, "not a finite number"),
    "missing label file": (lambda r: (r / LABEL).unlink(), 6, "ActionUnit_Labels/SN001", 3, "no label of AU 4"),
    "empty label file": (lambda r: (r / LABEL).write_text(""), 6, LABEL, "", "is empty"),
    "binary label file": (lambda r: (r / LABEL).write_bytes(b"\xff\x81"), 6, LABEL, "", "not readable as a text"),
    "duplicate frame": (lambda r: append(r, "2,0\n"), 0, LABEL, 7, "frame 2 is in a line above already"),
    "text for a frame": (lambda r: append(r, "x,0\n"), 0, LABEL, 7, "the frame is 'x', which is no whole number"),
    "frame 0": (lambda r: append(r, "0,0\n"), 0, LABEL, 7, "frames count from 1"),
    "text for a label": (lambda r: edit(r / LABEL, 3, 1, "much"), 1, LABEL, 3, "the intensity is 'much'"),
    "NaN": (lambda r: edit(r / LABEL, 3, 1, "nan"), 1, LABEL, 3, "the intensity is 'nan'"),
    "label 6": (lambda r: edit(r / LABEL, 3, 1, "6"), 1, LABEL, 3, "the intensity is 6; it must be 0 to 5"),
    "three cells": (lambda r: edit(r / LABEL, 3, 1, "1,1"), 1, LABEL, 3, "3 cells, not frame,intensity"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_bad_input_is_skipped_counted_and_named(root, made, tmp_path, kind):
    breaks, lost, file, row, reason = BROKEN[kind]
    if kind == "from zero or one":
        (root / PICTURES / "LeftVideoSN001_comp_0001.png").unlink()
    breaks(root)
    folder = prepare(root, tmp_path / "p")
    assert len(folder) == len(made.index) - lost
    lines = skipped(folder)
    named = [line for line in lines if line[:2] == (file, str(row))]
    assert named
    assert reason in named[0][2]
    assert sum(line[1] != "" for line in lines) == (lost or 1)
    assert sum(sequence.rows for sequence in disfa(root).sequences) == len(folder) + folder.meta["skipped"]
    with pytest.raises(DataError, match="--strict stops here") as caught:
        prepare(root, tmp_path / "strict", strict=True)
    assert "\n" not in str(caught.value)


def test_more_labels_than_pictures(root, made, tmp_path):
    for au in AUS:
        with open(root / f"ActionUnit_Labels/SN001/SN001_au{au}.txt", "a") as file:
            file.write("7,0\n")
        with open(root / f"ActionUnit_Labels/SN003/SN003_au{au}.txt", "a") as file:
            file.write("7,0\n")
    for path in (root / POINTS, Path(str(root / POINTS).replace("SN001", "SN003"))):
        shutil.copy(sorted(path.iterdir())[-1], path / sorted(path.iterdir())[-1].name.replace("0005", "0006"))
    (root / PICTURES / "LeftVideoSN001_comp_0007.png").write_bytes(b"")
    folder = prepare(root, tmp_path / "p")
    reasons = [line[2] for line in skipped(folder) if line[0].endswith(("0007.png", "LeftVideoSN003_comp"))]
    assert any("empty file" in reason for reason in reasons)
    assert any("cannot be told whether" in reason for reason in reasons)  # 6 pictures from 1, 7 labels


def test_more_labels_than_a_video_has_frames(tmp_path):
    pytest.importorskip("av")
    root, video = tmp_path / "d", "Videos_LeftCamera/LeftVideoSN001_comp.avi"
    made = write_disfa(root, ("SN001",), 6)
    (root / video).unlink()
    write_video(root / video, [np.full((96, 128, 3), 90, np.uint8)] * 4, 20)
    folder = prepare(root, tmp_path / "p")
    assert folder.frames.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(folder.labels, made.labels[:4])
    assert skipped(folder) == [(video, str(n), "the video ends after 4 frames") for n in (5, 6)]
    with pytest.raises(DataError, match=r"LeftVideoSN001_comp\.avi, row 5: the video ends after 4 frames"):
        prepare(root, tmp_path / "strict", strict=True)


def test_what_is_there_twice_is_said_and_one_of_them_is_read(root, made, tmp_path):
    shutil.copytree(root / "ActionUnit_Labels/SN001", root / "Labels/SN001")
    shutil.copytree(root / POINTS, root / "Landmark_Points/SN001/zz")
    shutil.copytree(root / PICTURES, root / "Videos_LeftCamera/other_SN001")
    shutil.copytree(root / PICTURES, root / "aligned/SN001")  # names no camera
    shutil.copytree(root / PICTURES, root / "Right/SN001")  # another camera is no double
    for folder in ("Labels/SN001", "Landmark_Points/SN001/zz", "Videos_LeftCamera/other_SN001", "aligned/SN001"):
        for path in (root / folder).iterdir():
            path.write_text("another")
    read = " twice, such as {}, which is read, and {}, which is not"
    assert disfa(root).found[4:] == [
        "label files: 8" + read.format(LABEL.replace("au4", "au1"), "Labels/SN001/SN001_au1.txt"),
        "folders of landmarks: 1" + read.format(POINTS, "Landmark_Points/SN001/zz"),
        "pictures or videos (left camera): 1" + read.format(PICTURES, "Videos_LeftCamera/other_SN001"),
        "pictures or videos (left camera): 1" + read.format(PICTURES, "aligned/SN001"),
    ]
    assert_same_as(made, prepare(root, tmp_path / "p"))


def test_subjects_without_any_label_file_are_named(root):
    shutil.rmtree(root / "ActionUnit_Labels/SN003")
    assert disfa(root).missing[0].startswith("label files of 25 subjects: SN002 SN003 SN004")
    assert disfa(root, subjects=["SN001"]).missing == []


def test_a_subject_in_no_fold(root, made, tmp_path):
    for path in sorted(root.rglob("*SN001*"), reverse=True):
        path.rename(path.with_name(path.name.replace("SN001", "SN014")))
    folder = prepare(root, tmp_path / "p")
    assert len(folder) == len(made.index) - 6
    assert {line[2] for line in skipped(folder)} == {"subject SN014 is in no published fold of DISFA"}


def test_bad_roots(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no label file SN001_au1\.txt is below it"):
        disfa(tmp_path / "empty")


@pytest.mark.slow
@pytest.mark.parametrize("frames", ["all", "jaa"])
def test_complete_labels_agree_with_the_golden_numbers_without_a_single_picture(tmp_path, frames):
    """All 27 subjects with the published counts: the listed landmark problems leave 126,144 of 130,814."""
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["disfa"]
    for part, subjects in enumerate(protocol_parts("disfa")):
        ends = np.cumsum([4844 if subject == "SN010" else 4845 for subject in subjects])
        assert ends[-1] == golden["frames"]["all"][part]
        for subject, end in zip(subjects, ends, strict=True):
            start = end - (4844 if subject == "SN010" else 4845)
            for au in DISFA_CODED:
                shown = golden["positives"][part][AUS.index(au)] if au in AUS else 0
                write_csv(tmp_path / f"ActionUnit_Labels/{subject}/{subject}_au{au}.txt",
                          [(k - start + 1, 2 if k < shown else 1) for k in range(start, end)])
    said = []
    assert check(disfa(tmp_path, frames), True, said.append), said
    assert said.count("  as published") == 3
    assert not check(disfa(tmp_path, frames, subjects=[*protocol_parts("disfa")[0]]), True, said.append)
    said.clear()
    assert check(disfa(tmp_path, frames, threshold=1, subjects=["SN001"]), False, said.append)
    assert said[-1] == "AU counts with this threshold are not comparable: the published ones are for 2"
