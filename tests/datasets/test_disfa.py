"""DISFA: every layout gives the same rows, pictures and labels belong together, choices are kept, the counts agree."""

import json

import numpy as np
import pytest
from PIL import Image
from preparations import SIZE, assert_same_as, prepare, rename_files, skipped
from scipy.io import savemat

from lorral_lite.datasets.checking import agrees_with_published
from lorral_lite.datasets.disfa import AUS, counts_from, disfa, landmark_files
from lorral_lite.datasets.folds import protocol_parts
from lorral_lite.datasets.preparing import checked
from lorral_lite.datasets.stand_in import DISFA_CODED, DISFA_IMAGES, write_csv, write_disfa, write_video
from lorral_lite.files import DataError, data_file


@pytest.fixture
def made(stand_ins):
    return stand_ins["disfa"]


@pytest.fixture
def root(copied):
    return copied("disfa")


def number_of(path):
    return int(path.stem.split("_")[1])


def one_more_landmark_file(root):
    """Every file is that of the frame before; the first is nobody's."""
    rename_files(root, "SN*_lm.mat", lambda path: f"{path.stem[:5]}_{number_of(path) + 1:04d}_lm.mat")
    for path in sorted(root.rglob("SN*_0001_lm.mat")):
        path.with_name(f"{path.stem[:5]}_0000_lm.mat").write_bytes(path.read_bytes())


def landmarks_from_one(root):
    rename_files(root, "SN*_lm.mat", lambda path: f"l{number_of(path) + 1:05d}_lm.mat")


def both(root):
    one_more_landmark_file(root)
    landmarks_from_one(root)


LAYOUTS = {
    "one landmark file too many": one_more_landmark_file,
    "landmarks from one": landmarks_from_one,
    "landmarks from one, one too many": both,
    "frame_lm": lambda root: rename_files(root, "tmp_frame_lm", lambda path: "frame_lm"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_landmarks_gives_the_same_rows(root, made, tmp_path, layout):
    LAYOUTS[layout](root)
    folder = prepare("disfa", root, tmp_path / "p")
    assert_same_as(made, folder)
    assert skipped(folder) == []


@pytest.mark.parametrize("images", ["avi", *DISFA_IMAGES])
def test_picture_i_belongs_to_label_line_i_plus_1(tmp_path, images):
    """Frame k is k grey levels × 20: the classic off-by-one would move every face by 20."""
    if images == "avi":
        pytest.importorskip("av")
    made = write_disfa(tmp_path / "d", ("SN031",), 5, images=images)
    if images == "avi":
        (tmp_path / "d/Videos_LeftCamera/LeftVideoSN031_comp.avi").unlink()
        write_video(tmp_path / "d/Videos_LeftCamera/LeftVideoSN031_Comp.avi",
                    [np.full((96, 128, 3), 20 * k, np.uint8) for k in range(1, 6)], 20)
    zero = images in ("0.png", "SN001_0.png")
    for path in (tmp_path / "d" / "Videos_LeftCamera").rglob("*.*g"):
        number = int(path.stem.split("_")[-1]) + zero
        Image.new("RGB", (128, 96), (20 * number,) * 3).save(path)
    folder = prepare("disfa", tmp_path / "d", tmp_path / "p")
    assert_same_as(made, folder)
    assert skipped(folder) == []
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
    assert "SN001: no pictures or video (right camera)" in disfa(tmp_path / "e", camera="right").missing


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_the_threshold_is_a_choice(root, made, tmp_path, threshold):
    levels = [np.loadtxt(root / f"ActionUnit_Labels/SN001/SN001_au{au}.txt", delimiter=",")[:, 1] for au in AUS]
    folder = prepare("disfa", root, tmp_path / "p", threshold=threshold, subjects=["SN001"])
    np.testing.assert_array_equal(folder.labels, np.stack(levels, 1) >= threshold)
    assert folder.meta["choices"]["threshold"] == threshold


def write_by_hand(root, subject, frames, landmark_name, points):
    """Labels 0 and plain pictures for some ``frames``; ``points`` moves by a pixel from one frame to the next."""
    for au in AUS:
        write_csv(root / f"ActionUnit_Labels/{subject}/{subject}_au{au}.txt", [(n, 0) for n in frames])
    place, pictures = root / f"Landmark_Points/{subject}/tmp_frame_lm", root / f"Videos_LeftCamera/{subject}"
    place.mkdir(parents=True)
    pictures.mkdir(parents=True)
    for k, n in enumerate(frames):
        savemat(place / landmark_name.format(zero=n - 1, one=n), {"pts": points + k})
    for n in (1, *frames):  # the first tells that pictures count from 0
        Image.new("RGB", (120, 120)).save(pictures / f"{n - 1}.png")


def test_the_listed_landmark_problems_are_left_out_by_jaa_alone(tmp_path, rng):
    """SN002's list is 799 to 825, counted from 0: of frames 796 … 830 these are labels 800 … 826."""
    write_by_hand(tmp_path, "SN002", range(796, 831), "SN002_{zero:04d}_lm.mat", rng.uniform(30, 60, (66, 2)))
    read = checked(disfa(tmp_path, frames="jaa").sequences[0])
    assert read.absent == 27
    assert [skip.row for skip in read.skips] == [*range(800, 827)]
    assert {skip.reason for skip in read.skips} == {"left out by --frames jaa: listed landmark problem"}
    assert len(checked(disfa(tmp_path).sequences[0]).numbers) == 35


def test_sn031_takes_the_landmarks_of_the_frame_before(tmp_path, rng):
    """D65 one bad frame, with the labels moved so that frame 3631 is among few."""
    points = rng.uniform(30, 60, (66, 2))
    write_by_hand(tmp_path, "SN031", (3629, 3630, 3631), "l{one:05d}_lm.mat", points)
    read = checked(disfa(tmp_path).sequences[0])
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
    assert agrees_with_published(disfa(tmp_path, frames), True, said.append), said
    assert said.count("  as published") == 3
    assert not agrees_with_published(disfa(tmp_path, frames, subjects=[*protocol_parts("disfa")[0]]), True, said.append)
    said.clear()
    assert agrees_with_published(disfa(tmp_path, frames, threshold=1, subjects=["SN001"]), False, said.append)
    assert said[-1] == "AU counts with this threshold are not comparable: the published ones are for 2"
