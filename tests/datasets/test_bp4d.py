"""BP4D: every layout gives the same rows, frames and labels belong together by number, the counts agree."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from preparations import SIZE, assert_same_as, edit, prepare, rename_files, skipped

from lorral_lite.cli import main
from lorral_lite.datasets.bp4d import AUS, bp4d
from lorral_lite.datasets.checking import agrees_with_published, describe
from lorral_lite.datasets.folds import protocol_parts
from lorral_lite.datasets.preparing import checked
from lorral_lite.datasets.source import walk
from lorral_lite.datasets.stand_in import write_bp4d, write_csv, write_v73_landmarks, write_video
from lorral_lite.files import DataError, data_file


@pytest.fixture
def made(stand_ins):
    return stand_ins["bp4d"]


@pytest.fixture
def root(copied):
    return copied("bp4d")


def spell_folders(root, spelling):
    for folder in sorted((root / "Sequences(2D+3D)").glob("*/*")):
        subject, task = folder.parts[-2:]
        new = root / "other" / spelling.format(subject=subject, task=task.lower(), letter=subject[0], two=subject[2:])
        new.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(new)
    rename_files(root / "other", "*.jpg", lambda path: f"frame_{int(path.stem)}.JPG")


def lift_labels(root):
    for path in (root / "AUCoding/AU_OCC").iterdir():
        path.rename(root / "AUCoding" / path.name)


LAYOUTS = {
    "as distributed": lambda root: None,
    "four digits": lambda root: rename_files(root, "*.jpg", lambda path: f"{int(path.stem):04d}.jpg"),
    "no padding": lambda root: rename_files(root, "*.jpg", lambda path: f"{int(path.stem)}.jpg"),
    "no AU_OCC": lift_labels,
    "folders F001_T1": lambda root: spell_folders(root, "{subject}_{task}"),
    "folders 2F01_T1": lambda root: spell_folders(root, "2{letter}{two}_{task}"),
    "folders F001/T1 elsewhere": lambda root: spell_folders(root, "{subject}/{task}"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(root, made, tmp_path, layout):
    LAYOUTS[layout](root)
    folder = prepare("bp4d", root, tmp_path / "p")
    assert_same_as(made, folder)
    assert skipped(folder) == []


def test_videos_unknown_labels_and_numbered_tasks(tmp_path):
    pytest.importorskip("av")
    made = write_bp4d(tmp_path / "b", ("F001", "M003"), ("T1", "T8"), 3, first=(998, 7), images="avi", unknown=2)
    rename_files(tmp_path / "b", "*_T8.*", lambda path: path.name.replace("_T8", "_13"))
    folder = prepare("bp4d", tmp_path / "b", tmp_path / "p")
    assert_same_as(made, folder)
    assert skipped(folder) == []
    assert folder.meta["unknown"] == (folder.labels == -1).sum(0).tolist()
    assert (folder.labels == -1).sum() == 8


def test_numbers_of_tasks_that_some_copies_have(tmp_path):
    for k, number in enumerate(("01", "03", "07", "08", "09", "10", "11", "13"), 1):
        write_csv(tmp_path / f"F001_{number}.csv", [[0, *AUS], [k, *[0] * 12]])
    coded = bp4d(tmp_path).coded
    assert {task: read.numbers.tolist() for (_, task), read in coded.items()} == {f"T{k}": [k] for k in range(1, 9)}


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
    faces = prepare("bp4d", root, tmp_path / "p")
    middle = faces.images[:, SIZE // 2, SIZE // 2, 0]
    assert middle.tolist() == [n % 256 for n in (998, 999, 1000, 1001)] == (faces.frames % 256).tolist()


def test_frames_of_a_video_belong_to_their_numbers(tmp_path):
    """The first frame of the video is frame 1; the video is shorter than the labels, and that is said."""
    pytest.importorskip("av")
    write_bp4d(tmp_path / "b", ("F001",), ("T1",), 4, images="avi", first=(5,), empty=0)
    grey = [np.full((128, 96, 3), 20 * number, np.uint8) for number in range(1, 8)]
    write_video(tmp_path / "b" / "2F01_T1.avi", grey, 25)
    folder = prepare("bp4d", tmp_path / "b", tmp_path / "p")
    assert folder.frames.tolist() == [5, 6, 7]
    np.testing.assert_allclose(folder.images[:, SIZE // 2, SIZE // 2].mean(-1), [100, 120, 140], atol=3)
    assert skipped(folder) == [("2F01_T1.avi", "8", "the video ends after 7 frames")]


def test_frames_without_landmarks_are_left_out_or_filled_in_and_said(made, tmp_path):
    assert (~made.tracked).sum() == 3
    left = prepare("bp4d", made.root, tmp_path / "jaa", frames="jaa", strict=True)
    assert_same_as(made, left, made.tracked)
    lines = skipped(left)
    assert len(lines) == 3
    assert {line[2] for line in lines} == {"left out by --frames jaa: no landmarks"}
    assert len(left) + len(lines) == len(made.index)
    assert left.meta["choices"]["frames"] == "jaa"
    every = prepare("bp4d", made.root, tmp_path / "all")
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


def test_links_are_followed_and_loops_are_not(root, made, tmp_path):
    (root / "AUCoding").rename(tmp_path / "elsewhere")
    (root / "AUCoding").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root)
    (root / "itself").symlink_to("itself")
    folders = [folder for folder, _ in walk(root)]
    assert len(folders) == len({folder.resolve() for folder in folders}) == len([p for p in folders if p.is_dir()])
    assert root / "AUCoding" / "AU_OCC" in folders
    assert_same_as(made, prepare("bp4d", root, tmp_path / "p"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(root):
    (root / "2DFeatures").chmod(0)
    with pytest.raises(DataError, match="2DFeatures: cannot be read"):
        bp4d(root)


# --- the golden numbers -------------------------------------------------------------------------------------------

def published_labels(part):
    """Part 1, 2 or 3 as it must be: subject, task and (n, 12) labels of each sequence, with the published counts."""
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["bp4d"]
    labels = np.arange(golden["frames"]["all"][part - 1])[:, None] < np.array(golden["positives"][part - 1])
    names = [(subject, f"T{t}") for subject in protocol_parts("bp4d")[part - 1] for t in range(1, 9)]
    for (subject, task), rows in zip(names, np.array_split(labels.astype(int), len(names)), strict=True):
        yield subject, task, rows


def write_labels(root, subject, task, rows):
    write_csv(root / "AUCoding" / f"{subject}_{task}.csv",
              [[0, *AUS], *([n, *row] for n, row in enumerate(rows.tolist(), 1))])


def test_complete_labels_agree_with_the_golden_numbers_without_a_picture_and_one_changed_does_not(tmp_path, capsys):
    """Part 3: 13 subjects, 104 sequences, 46,034 rows."""
    part = protocol_parts("bp4d")[2]
    for sequence in published_labels(3):
        write_labels(tmp_path, *sequence)
    source = bp4d(tmp_path, frames="all", subjects=part)
    describe(source)
    assert "found label files: 104 of 104 in AUCoding" in capsys.readouterr().out
    said = []
    assert agrees_with_published(source, False, said.append)
    assert said.count("  as published") == 1
    assert "fold 2 (tests part 2): not comparable, 14 of its 14 subjects were not asked for" in said
    edit(tmp_path / "AUCoding" / "F004_T1.csv", 2, 1, "0")
    said.clear()
    assert not agrees_with_published(bp4d(tmp_path, subjects=part), False, said.append)
    assert [line for line in said if "MISMATCH" in line] == ["  MISMATCH, published: AU1 12,497"]


@pytest.mark.slow
def test_the_whole_set_passes_the_check_and_one_missing_label_does_not(tmp_path, capsys):
    """Labels and landmarks of all 328 sequences with the published counts, and not a single picture: exit code 0."""
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["bp4d"]
    lost = dict(golden["no_landmarks"])
    face = np.random.default_rng(0).uniform(10, 50, (49, 2))
    for subject, task, rows in (sequence for part in (1, 2, 3) for sequence in published_labels(part)):
        write_labels(tmp_path, subject, task, rows)
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
