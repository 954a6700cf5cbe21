"""BP4D: every layout gives the same rows, each broken file is skipped with file, row and reason, the counts agree."""

import csv
import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from lorral_lite.cli import main
from lorral_lite.datasets.bp4d import AUS, bp4d, read_landmarks, read_occurrence
from lorral_lite.datasets.checking import check, describe
from lorral_lite.datasets.folds import protocol_parts
from lorral_lite.datasets.preparing import checked, prepare_sequences
from lorral_lite.datasets.source import walk
from lorral_lite.datasets.stand_in import write_bp4d, write_bp4d_labels, write_csv, write_v73_landmarks, write_video
from lorral_lite.files import DataError, data_file
from lorral_lite.landmarks import alignment, transform

SIZE = 48


def prepare(root, out, strict=False, **choices):
    source = bp4d(root, **choices)
    return prepare_sequences(out, root, source.sequences, SIZE, source.aus, source.meta, workers=1, strict=strict,
                             progress=False, say=lambda line: None)


def skipped(folder) -> list[tuple[str, str, str]]:
    """(file, row, reason), and on the way the check that totals add up."""
    if not (folder.path / "skipped.csv").exists():
        return []
    with open(folder.path / "skipped.csv", newline="", encoding="utf8") as file:
        lines = [tuple(line) for line in csv.reader(file)][1:]
    assert folder.meta["skipped"] == sum(line[1] != "" for line in lines)
    return lines


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_bp4d(tmp_path_factory.mktemp("bp4d") / "BP4D")


@pytest.fixture
def root(made, tmp_path):
    """A copy of the stand-in that a test may break."""
    return Path(shutil.copytree(made.root, tmp_path / "BP4D"))


def assert_same_as(made, folder, frames=None):
    """Index, labels and landmarks of a prepared folder are those that the stand-in was made of."""
    rows = np.arange(len(made.index)) if frames is None else np.flatnonzero(frames)
    assert [*zip(folder.subjects, folder.tasks, folder.frames.tolist(), strict=True)] == [made.index[k] for k in rows]
    np.testing.assert_array_equal(folder.labels, made.labels[rows])
    for row, k in enumerate(rows):
        if made.tracked[k]:
            expected = transform(made.landmarks[k], alignment(made.landmarks[k], SIZE))
            np.testing.assert_allclose(folder.landmarks[row], expected, atol=1e-3)


LAYOUTS = {
    "as distributed": {},
    "four digits": {"digits": 4},
    "no padding": {"digits": 0},
    "no AU_OCC": {"au_occ": False},
    "videos": {"images": "avi"},
    "videos and labels with task numbers": {"images": "avi-numbers"},
    "unknown labels": {"unknown": 2},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(tmp_path, layout):
    if "videos" in layout:
        pytest.importorskip("av")
    made = write_bp4d(tmp_path / "b", ("F001", "M003"), ("T1", "T8"), 3, first=(998, 7), **LAYOUTS[layout])
    folder = prepare(tmp_path / "b", tmp_path / "p")
    assert_same_as(made, folder)
    assert skipped(folder) == []
    assert (folder.labels == -1).sum() == (8 if layout == "unknown labels" else 0)
    assert folder.meta["unknown"] == (folder.labels == -1).sum(0).tolist()


def test_pictures_belong_to_their_numbers(made, tmp_path):
    """With lossless pictures each face is found under the number that its label has."""
    root = tmp_path / "b"
    write_bp4d(root, ("F001",), ("T1",), 4, first=(998,), empty=0)
    folder = root / "Sequences(2D+3D)" / "F001" / "T1"
    for path in folder.glob("*.jpg"):
        with Image.open(path) as picture:
            size = picture.size
        Image.new("RGB", size, (int(path.stem) % 256, 0, 0)).save(folder / f"F001_{path.stem}.png")
        path.unlink()
    faces = prepare(root, tmp_path / "p")
    middle = faces.images[:, SIZE // 2, SIZE // 2, 0]
    assert middle.tolist() == [n % 256 for n in (998, 999, 1000, 1001)] == (faces.frames % 256).tolist()


def test_frames_of_a_video_belong_to_their_numbers(tmp_path):
    """The first frame of the video is frame 1; the video is shorter than the labels, and that is said."""
    pytest.importorskip("av")
    write_bp4d(tmp_path / "b", ("F001",), ("T1",), 4, images="avi", first=(5,), empty=0)
    grey = [np.full((128, 96, 3), 20 * number, np.uint8) for number in range(1, 8)]
    write_video(tmp_path / "b" / "2F01_T1.avi", grey, 25)
    folder = prepare(tmp_path / "b", tmp_path / "p")
    assert folder.frames.tolist() == [5, 6, 7]
    np.testing.assert_allclose(folder.images[:, SIZE // 2, SIZE // 2].mean(-1), [100, 120, 140], atol=3)
    assert skipped(folder) == [("2F01_T1.avi", "8", "the video ends after 7 frames")]


@pytest.mark.parametrize("spelling", ["{subject}_{task}", "2{letter}{two}_{task}", "{subject}/{task}"])
def test_folders_of_pictures_in_any_spelling(root, made, tmp_path, spelling):
    for folder in sorted((root / "Sequences(2D+3D)").glob("*/*")):
        subject, task = folder.parts[-2:]
        new = root / "other" / spelling.format(subject=subject, task=task.lower(), letter=subject[0], two=subject[2:])
        new.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(new)
        for path in new.iterdir():
            path.rename(path.with_name(f"frame_{int(path.stem)}.JPG") if path.suffix == ".jpg" else path)
    assert_same_as(made, prepare(root, tmp_path / "p"))


def test_frames_without_landmarks_are_left_out_or_filled_in_and_said(made, tmp_path):
    assert (~made.tracked).sum() == 3
    left = prepare(made.root, tmp_path / "jaa", frames="jaa", strict=True)
    assert_same_as(made, left, made.tracked)
    lines = skipped(left)
    assert len(lines) == 3
    assert {line[2] for line in lines} == {"left out by --frames jaa: no landmarks"}
    assert len(left) + len(lines) == len(made.index)
    assert left.meta["choices"]["frames"] == "jaa"
    every = prepare(made.root, tmp_path / "all")
    assert every.meta["filled_landmarks"] == np.flatnonzero(~made.tracked).tolist()


def test_filled_in_landmarks_lie_between_their_neighbours(tmp_path):
    """D36, on landmarks that move evenly: the hole is filled with what was there."""
    numbers = np.arange(1, 8)
    start = np.random.default_rng(0).uniform(10, 50, (49, 2))
    truth = [start + (number, 2 * number) for number in numbers]
    root = tmp_path / "b"
    write_bp4d(root, ("F001",), ("T1",), 7, first=(1,), empty=0, around=0)
    write_v73_landmarks(root / "2DFeatures" / "F001_T1.mat", [*truth[:2], None, None, truth[4], None, truth[6]])
    frames = checked(bp4d(root).sequences[0])
    np.testing.assert_allclose(frames.landmarks, truth, atol=1e-4)
    assert frames.filled.tolist() == [False, False, True, True, False, True, False]
    write_v73_landmarks(root / "2DFeatures" / "F001_T1.mat", [None] * 7)
    assert {skip.reason for skip in checked(bp4d(root).sequences[0]).skips} == {"no frame here has landmarks"}


# --- bad input: each with a real broken file ----------------------------------------------------------------------

LABELS = "AUCoding/AU_OCC/F001_T1.csv"
POINTS = "2DFeatures/F001_T1.mat"
PICTURES = "Sequences(2D+3D)/F001/T1"


def edit(path: Path, line: int, column: int, value: str) -> None:
    rows = [row.split(",") for row in path.read_text().splitlines()]
    rows[line - 1][column] = value
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")


def cut_column(root):
    rows = [row.split(",") for row in (root / LABELS).read_text().splitlines()]
    (root / LABELS).write_text("\n".join(",".join(row[:24] + row[25:]) for row in rows) + "\n")


def more_labels(root):
    last = (root / LABELS).read_text().splitlines()[-1].split(",")
    with open(root / LABELS, "a") as file:
        file.write(",".join(["2600", *last[1:]]) + "\n")


def more_labels_than_pictures(root):
    """Landmarks there are for two frames that nobody photographed, the last of which is coded."""
    with h5py.File(root / POINTS, "r") as file:
        points = [file[reference][()].T - 1 for reference in file["fit/pred"][()].ravel()]
    write_v73_landmarks(root / POINTS, [*points, points[-1], points[-1]])
    last = (root / LABELS).read_text().splitlines()[-1].split(",")
    with open(root / LABELS, "a") as file:
        file.write(",".join(["2446", *last[1:]]) + "\n")


def twice_labelled(root):
    with open(root / LABELS, "a") as file:
        file.write((root / LABELS).read_text().splitlines()[1] + "\n")


def change_entry(number, value):
    def change(root):
        with h5py.File(root / POINTS, "r+") as file:
            new = file["#refs#"].create_dataset("new", data=value)
            refs = file["fit/pred"][()]
            refs[number - 1, 0] = new.ref
            file["fit/pred"][()] = refs
    return change


def twice_pictured(root):
    (root / PICTURES / "02441.jpg").write_bytes((root / PICTURES / "2441.jpg").read_bytes())


def truncate_picture(root):
    path = root / PICTURES / "2441.jpg"
    path.write_bytes(path.read_bytes()[:-600])


def loop(root):
    (root / PICTURES / "2441.jpg").unlink()
    (root / PICTURES / "2441.jpg").symlink_to("2441.jpg")


ONE, FOUR = 1, 4  # frames that are lost of the four of F001 T1
BROKEN = {
    "missing picture": (lambda r: (r / PICTURES / "2441.jpg").unlink(), ONE, PICTURES, 2441, "no picture of frame"),
    "truncated JPEG": (truncate_picture, ONE, f"{PICTURES}/2441.jpg", 2441, "not readable as a picture"),
    "two pictures of one frame": (twice_pictured, ONE, PICTURES, 2441, "twice: 02441.jpg and 2441.jpg"),
    "picture that links to itself": (loop, ONE, f"{PICTURES}/2441.jpg", 2441, "not readable as a picture"),
    "no pictures": (lambda r: (r / PICTURES).rename(r / "gone"), FOUR, "F001_T1", 2440, "no pictures or video"),
    "zero-byte .mat": (lambda r: (r / POINTS).write_bytes(b""), FOUR, POINTS, 2440, "is empty"),
    "v5 .mat": (lambda r: savemat(r / POINTS, {"fit": 1}), FOUR, POINTS, 2440, "is a MATLAB v5 file"),
    "text .mat": (lambda r: (r / POINTS).write_text("hello"), FOUR, POINTS, 2440, "not readable as MATLAB v7.3"),
    "cut .mat": (lambda r: (r / POINTS).write_bytes((r / POINTS).read_bytes()[:3000]), FOUR, POINTS, 2440,
                 "not readable as MATLAB v7.3"),
    "no .mat": (lambda r: (r / POINTS).unlink(), FOUR, "F001_T1", 2440, "no landmark file"),
    "66 landmarks": (change_entry(2441, np.ones((2, 66))), ONE, POINTS, 2441, "shape (66, 2), not (49, 2)"),
    "landmarks all zero": (change_entry(2441, np.zeros((2, 49))), ONE, POINTS, 2441, "same point"),
    "landmark NaN": (change_entry(2441, np.full((2, 49), np.nan)), ONE, POINTS, 2441, "not a finite number"),
    "label file without AU 24": (cut_column, FOUR, LABELS, 2, "no column for AU 24"),
    "empty label file": (lambda r: (r / LABELS).write_bytes(b""), FOUR, LABELS, "", "is empty"),
    "binary label file": (lambda r: (r / LABELS).write_bytes(b"\xff\xfe\x00\x81"), FOUR, LABELS, "", "not readable"),
    "no header": (lambda r: (r / LABELS).write_text("2440,0,1\n2441,0,1\n"), FOUR, LABELS, "", "the header is not"),
    "duplicate frame": (twice_labelled, 0, LABELS, 6, "frame 2440 is in line 2 already"),
    "text for a label": (lambda r: edit(r / LABELS, 3, 12, "yes"), ONE, LABELS, 3, "AU 12 is 'yes', which is no whole"),
    "text for a frame": (lambda r: edit(r / LABELS, 3, 0, "two"), ONE, LABELS, 3, "the frame is 'two'"),
    "NaN": (lambda r: edit(r / LABELS, 3, 12, "nan"), ONE, LABELS, 3, "AU 12 is 'nan', which is no whole"),
    "label 3": (lambda r: edit(r / LABELS, 3, 12, "3"), ONE, LABELS, 3, "AU 12 is 3; it must be 0, 1 or 9"),
    "frame 0": (lambda r: edit(r / LABELS, 3, 0, "0"), ONE, LABELS, 3, "frames count from 1"),
    "short line": (lambda r: (r / LABELS).write_text((r / LABELS).read_text() + "2444,1\n"), 0, LABELS, 6, "2 cells"),
    "more labels than pictures": (more_labels_than_pictures, 0, PICTURES, 2446, "no picture of frame 2446"),
    "more labels than landmarks": (more_labels, 0, POINTS, 2600, "the file ends at frame 2444"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_bad_input_is_skipped_counted_and_named(root, made, tmp_path, kind):
    breaks, lost, file, row, reason = BROKEN[kind]
    breaks(root)
    folder = prepare(root, tmp_path / "p")
    assert len(folder) == len(made.index) - lost
    lines = skipped(folder)
    assert (file, str(row)) in {line[:2] for line in lines}
    assert all(reason in line[2] for line in lines), lines
    assert len(lines) == max(lost, 1) if row else len(lines) == 1
    assert sum(sequence.rows for sequence in bp4d(root).sequences) == len(folder) + folder.meta["skipped"]
    with pytest.raises(DataError) as caught:
        prepare(root, tmp_path / "strict", strict=True)
    assert reason in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_subject_in_no_fold(root, made, tmp_path):
    for path in [*root.rglob("F001*")]:
        path.rename(path.with_name(path.name.replace("F001", "F099")))
    folder = prepare(root, tmp_path / "p")
    assert len(folder) == len(made.index) - 8
    assert {line[2] for line in skipped(folder)} == {"subject F099 is in no published fold of BP4D"}


def test_links_are_followed_and_loops_are_not(root, made, tmp_path):
    (root / "AUCoding").rename(tmp_path / "elsewhere")
    (root / "AUCoding").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root)
    (root / "itself").symlink_to("itself")
    folders = [folder for folder, _ in walk(root)]
    assert len(folders) == len({folder.resolve() for folder in folders}) == len([p for p in folders if p.is_dir()])
    assert root / "AUCoding" / "AU_OCC" in folders
    assert_same_as(made, prepare(root, tmp_path / "p"))


def test_bad_roots_and_subjects(root, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder; name the folder"):
        bp4d(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no label file F001_T1\.csv is below it"):
        bp4d(tmp_path / "empty")
    with pytest.raises(DataError, match=r"--subjects F002: no labels of this subject.*F001, F003, F004"):
        bp4d(root, subjects=["F002"])
    assert {s.subject for s in bp4d(root, subjects=["f003"]).sequences} == {"F003"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(root):
    (root / "2DFeatures").chmod(0)
    with pytest.raises(DataError, match="2DFeatures: cannot be read"):
        bp4d(root)


def test_what_is_there_twice_is_said_and_one_of_them_is_read(root, made, tmp_path):
    write_csv(root / "AUCoding" / "F001_T1.csv", [["0", "1"]])
    shutil.copytree(root / "2DFeatures", root / "3DFeatures")
    for path in (root / "2DFeatures").iterdir():
        (root / "3DFeatures" / path.name).write_text("three axes")
    shutil.copytree(root / "Sequences(2D+3D)", root / "crops")
    for path in (root / "Sequences(2D+3D)").rglob("*.jpg"):
        (root / "crops" / path.relative_to(root / "Sequences(2D+3D)")).write_text("cut by somebody")
    (root / "2F01_T1.avi").write_text("the same")
    said = bp4d(root).found[4:]
    read = " twice, such as {}, which is read, and {}, which is not"
    assert said == [
        "label files: 1" + read.format("AUCoding/AU_OCC/F001_T1.csv", "AUCoding/F001_T1.csv"),
        "landmark files: 6" + read.format("2DFeatures/F001_T1.mat", "3DFeatures/F001_T1.mat"),
        "pictures or videos: 6" + read.format("Sequences(2D+3D)/F001/T1", "crops/F001/T1"),
        "pictures or videos: 1" + read.format("Sequences(2D+3D)/F001/T1", "2F01_T1.avi"),
    ]
    assert_same_as(made, prepare(root, tmp_path / "p"))


def test_subjects_without_any_label_file_are_named(root, made):
    (root / "AUCoding" / "AU_OCC" / "F003_T1.csv").unlink()
    (root / "AUCoding" / "AU_OCC" / "F003_T2.csv").unlink()
    said = bp4d(root).missing
    assert said[0].startswith("label files of 39 subjects: F002 F003 F005 F006")
    assert said[1:] == ["F003 T1: no label file", "F003 T2: no label file"]
    assert bp4d(root, subjects=["F001"]).missing == []


def test_pixels_count_from_zero_and_nine_is_unknown(tmp_path):
    write_v73_landmarks(tmp_path / "a.mat", [np.full((49, 2), 3.0), np.arange(98.0).reshape(49, 2)])
    points, bad = read_landmarks(tmp_path / "a.mat", np.array([2, 3]))
    np.testing.assert_array_equal(points[0], np.arange(98).reshape(49, 2))
    with h5py.File(tmp_path / "a.mat") as file:  # on disk they count from 1, as MATLAB does
        np.testing.assert_array_equal(file[file["fit/pred"][1, 0]][()].T, np.arange(98).reshape(49, 2) + 1)
    assert bad == {1: "the file ends at frame 2"}
    labels = np.array([[0, 1, -1] * 4])
    write_bp4d_labels(tmp_path / "a.csv", [5], labels, AUS)
    np.testing.assert_array_equal(read_occurrence(tmp_path / "a.csv").labels, labels)


# --- the golden numbers -------------------------------------------------------------------------------------------

PART = 3


@pytest.fixture(scope="module")
def third_part(tmp_path_factory):
    """The label files of part 3 as they must be: 13 subjects, 104 sequences, 46,034 rows with the published counts."""
    root = tmp_path_factory.mktemp("golden")
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["bp4d"]
    frames, positives = golden["frames"]["all"][PART - 1], golden["positives"][PART - 1]
    labels = (np.arange(frames)[:, None] < np.array(positives)).astype(int)
    names = [(subject, f"T{t}") for subject in protocol_parts("bp4d")[PART - 1] for t in range(1, 9)]
    for (subject, task), rows in zip(names, np.array_split(labels, len(names)), strict=True):
        write_csv(root / "AUCoding" / f"{subject}_{task}.csv",
                  [[0, *AUS], *([n, *row] for n, row in enumerate(rows.tolist(), 100))])
    return root


def test_complete_labels_agree_with_the_golden_numbers_without_a_single_picture(third_part, capsys):
    part = protocol_parts("bp4d")[PART - 1]
    source = bp4d(third_part, frames="all", subjects=part)
    describe(source)
    said = []
    assert check(source, False, said.append)
    assert said.count("  as published") == 1
    assert "  landmark files are missing: frames without landmarks are not comparable" in said
    assert "fold 2 (tests part 2): not comparable, 14 of its 14 subjects were not asked for" in said
    assert "46,034" in "\n".join(said)
    text = capsys.readouterr().out
    assert "found label files: 104 of 104 in AUCoding" in text
    assert "missing F004 T1: no landmark file" in text


def test_one_changed_label_is_a_mismatch(third_part, tmp_path):
    part = protocol_parts("bp4d")[PART - 1]
    root = Path(shutil.copytree(third_part, tmp_path / "g"))
    edit(root / "AUCoding" / "F004_T1.csv", 2, 1, "0")
    said = []
    assert not check(bp4d(root, subjects=part), False, said.append)
    assert [line for line in said if "MISMATCH" in line] == ["  MISMATCH, published: AU1 12,497"]


@pytest.mark.slow
def test_the_whole_set_passes_the_check_and_one_missing_label_does_not(tmp_path, capsys):
    """Labels and landmarks of all 328 sequences with the published counts, and not a single picture: exit code 0."""
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["bp4d"]
    lost = dict(golden["no_landmarks"])
    face = np.random.default_rng(0).uniform(10, 50, (49, 2))
    for part, subjects in enumerate(protocol_parts("bp4d")):
        labels = (np.arange(golden["frames"]["all"][part])[:, None] < np.array(golden["positives"][part])).astype(int)
        names = [(subject, f"T{t}") for subject in subjects for t in range(1, 9)]
        for (subject, task), rows in zip(names, np.array_split(labels, len(names)), strict=True):
            write_csv(tmp_path / "AUCoding" / f"{subject}_{task}.csv",
                      [[0, *AUS], *([n, *row] for n, row in enumerate(rows.tolist(), 1))])
            empty = lost.pop(f"{subject} {task}", {"frames": 0})["frames"]
            write_v73_landmarks(tmp_path / "2DFeatures" / f"{subject}_{task}.mat",
                                [face] * (len(rows) - empty) + [None] * empty)
    assert not lost
    assert main(["prepare", "bp4d", str(tmp_path), "--check"]) == 0
    text = capsys.readouterr().out
    assert text.count("  as published") == 3
    assert all(f"{count:,}" in text for rule in ("all", "jaa") for count in golden["frames"][rule])
    assert "missing … and" in text  # the pictures
    edit(tmp_path / "AUCoding" / "F004_T1.csv", 2, 1, "9")
    assert main(["prepare", "bp4d", str(tmp_path), "--check", "--subjects", *protocol_parts("bp4d")[2]]) == 1
    assert "MISMATCH, published: AU1 12,497\n" in capsys.readouterr().out


def test_an_incomplete_set_that_claims_to_be_whole_is_a_mismatch(made):
    said = []
    assert check(bp4d(made.root), True, said.append) is False
    assert check(bp4d(made.root, subjects=["F001"]), False, said.append) is True  # nothing can be compared
    assert sum("not comparable" in line for line in said) == 3
