"""Each kind of broken file, in both data sets: it is skipped, counted and named with file, row and reason."""

import shutil
import struct
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image
from preparations import SOURCES, append, assert_same_as, edit, prepare, rename_files, skipped
from scipy.io import savemat

from lorral_lite.datasets.stand_in import write_v73_landmarks
from lorral_lite.files import DataError

# --- BP4D: the four frames 2440 to 2443 of F001 T1

LABELS = "AUCoding/AU_OCC/F001_T1.csv"
POINTS = "2DFeatures/F001_T1.mat"
PICTURES = "Sequences(2D+3D)/F001/T1"


def cut_column(root):
    rows = [row.split(",") for row in (root / LABELS).read_text().splitlines()]
    (root / LABELS).write_text("\n".join(",".join(row[:24] + row[25:]) for row in rows) + "\n")


def last_label_again(root, frame):
    last = (root / LABELS).read_text().splitlines()[-1].split(",")
    append(root / LABELS, ",".join([str(frame), *last[1:]]) + "\n")


def more_labels_than_pictures(root):
    """Landmarks there are for two frames that nobody photographed, the last of which is coded."""
    with h5py.File(root / POINTS, "r") as file:
        points = [file[reference][()].T - 1 for reference in file["fit/pred"][()].ravel()]
    write_v73_landmarks(root / POINTS, [*points, points[-1], points[-1]])
    last_label_again(root, 2446)


def change_entry(number, value):
    def change(root):
        with h5py.File(root / POINTS, "r+") as file:
            new = file["#refs#"].create_dataset("new", data=value)
            refs = file["fit/pred"][()]
            refs[number - 1, 0] = new.ref
            file["fit/pred"][()] = refs
    return change


def other_entry(make):
    """Frame 2441 refers to the data set that ``make(#refs#)`` returns."""
    def change(root):
        with h5py.File(root / POINTS, "r+") as file:
            refs = file["fit/pred"][()]
            refs[2440, 0] = make(file["#refs#"], root).ref
            file["fit/pred"][()] = refs
    return change


def elsewhere(group, root):
    (root / "numbers.bin").write_bytes(np.arange(98.0).tobytes())
    return group.create_dataset("new", (2, 49), "f8", external=[(str(root / "numbers.bin"), 0, 784)])


def virtual(group, root):
    write_v73_landmarks(root / "other.mat", [np.arange(98.0).reshape(49, 2)])
    layout = h5py.VirtualLayout((2, 49), "f8")
    layout[:] = h5py.VirtualSource(str(root / "other.mat"), "#refs#/p0", (2, 49))
    return group.create_virtual_dataset("new", layout)


def pred_is(make):
    """``fit/pred`` is what ``make`` says."""
    def change(root):
        (root / POINTS).rename(root / "other.mat")
        with h5py.File(root / POINTS, "w") as file:
            make(file.create_group("fit"), root / "other.mat")
    return change


def linked(fit, other):
    fit["pred"] = h5py.ExternalLink(str(other), "/fit/pred")


def in_one_piece(fit, other):
    fit.create_dataset("pred", (3, 1), h5py.ref_dtype, maxshape=(None, None), chunks=(20_000, 20_000))


def twice_pictured(root):
    (root / PICTURES / "02441.jpg").write_bytes((root / PICTURES / "2441.jpg").read_bytes())


BP4D = {  # what breaks it, lost frames, file, row, reason
    "missing picture": (lambda r: (r / PICTURES / "2441.jpg").unlink(), 1, PICTURES, 2441, "no picture of frame"),
    "two pictures of one frame": (twice_pictured, 1, PICTURES, 2441, "twice: 02441.jpg and 2441.jpg"),
    "no pictures": (lambda r: (r / PICTURES).rename(r / "gone"), 4, "F001_T1", 2440, "no pictures or video"),
    "zero-byte .mat": (lambda r: (r / POINTS).write_bytes(b""), 4, POINTS, 2440, "is empty"),
    "v5 .mat": (lambda r: savemat(r / POINTS, {"fit": 1}), 4, POINTS, 2440, "is a MATLAB v5 file"),
    "cut .mat": (lambda r: (r / POINTS).write_bytes((r / POINTS).read_bytes()[:3000]), 4, POINTS, 2440,
                 "not readable as MATLAB v7.3"),
    "numbers in another file": (other_entry(elsewhere), 4, POINTS, 2440, "are in another file"),
    "virtual numbers": (other_entry(virtual), 4, POINTS, 2440, "are in another file"),
    "a huge piece": (other_entry(lambda g, r: g.create_dataset(
        "new", (2, 49), "f8", maxshape=(None, None), chunks=(20_000, 20_000), compression="gzip")), 4, POINTS, 2440,
        "is in pieces of 400,000,000 numbers"),
    "huge text for landmarks": (other_entry(lambda g, r: g.create_dataset(
        "new", (2, 49), "S1000000000", chunks=(1, 1))), 1, POINTS, 2441, "landmarks of type |S1000000000, not numbers"),
    "landmark 1e300": (change_entry(2441, np.linspace(0, 1e300, 98).reshape(2, 49)), 1, POINTS, 2441,
                       "not a finite number"),
    "a link to another file": (pred_is(linked), 4, POINTS, 2440, "fit/pred is a link to somewhere else"),
    "no references": (pred_is(lambda fit, _: fit.create_dataset("pred", (3, 1), h5py.string_dtype())), 4, POINTS, 2440,
                      "fit/pred has 3 entries of type object"),
    "references in one piece": (pred_is(in_one_piece), 4, POINTS, 2440, "is in pieces of 400,000,000"),
    "no .mat": (lambda r: (r / POINTS).unlink(), 4, "F001_T1", 2440, "no landmark file"),
    "66 landmarks": (change_entry(2441, np.ones((2, 66))), 1, POINTS, 2441, "shape (66, 2), not (49, 2)"),
    "landmarks all zero": (change_entry(2441, np.zeros((2, 49))), 1, POINTS, 2441, "same point"),
    "label file without AU 24": (cut_column, 4, LABELS, 2, "no column for AU 24"),
    "empty label file": (lambda r: (r / LABELS).write_bytes(b""), 4, LABELS, "", "is empty"),
    "absurd label file": (lambda r: append(r / LABELS, "\n" * 2**23), 4, LABELS, "", "at most 8,388,608 are read"),
    "absurd label line": (lambda r: append(r / LABELS, "," * 2**21), 4, LABELS, "", "a line has more than 1,048,576"),
    "binary label file": (lambda r: (r / LABELS).write_bytes(b"\xff\xfe\x00\x81"), 4, LABELS, "", "not readable"),
    "no header": (lambda r: (r / LABELS).write_text("2440,0,1\n2441,0,1\n"), 4, LABELS, "", "the header is not"),
    "duplicate frame": (lambda r: last_label_again(r, 2440), 0, LABELS, 6, "frame 2440 is in line 2 already"),
    "text for a frame": (lambda r: edit(r / LABELS, 3, 0, "two"), 1, LABELS, 3, "the frame is 'two'"),
    "NaN": (lambda r: edit(r / LABELS, 3, 12, "nan"), 1, LABELS, 3, "AU 12 is 'nan', which is no whole"),
    "label 3": (lambda r: edit(r / LABELS, 3, 12, "3"), 1, LABELS, 3, "AU 12 is 3; it must be 0, 1 or 9"),
    "frame 0": (lambda r: edit(r / LABELS, 3, 0, "0"), 1, LABELS, 3, "frames count from 1"),
    "short line": (lambda r: append(r / LABELS, "2444,1\n"), 0, LABELS, 6, "2 cells"),
    "more labels than pictures": (more_labels_than_pictures, 0, PICTURES, 2446, "no picture of frame 2446"),
    "more labels than landmarks": (lambda r: last_label_again(r, 2600), 0, POINTS, 2600, "the file ends at frame 2444"),
}

# --- DISFA: the six frames of SN001

LABEL = "ActionUnit_Labels/SN001/SN001_au4.txt"
PLACE = "Landmark_Points/SN001/tmp_frame_lm"
MAT = f"{PLACE}/SN001_0002_lm.mat"
SHOTS = "Videos_LeftCamera/LeftVideoSN001_comp"
SHOT = f"{SHOTS}/LeftVideoSN001_comp_0003.png"


def v5(kind, shape, content, packed=False):
    """A v5 file of one matrix pts: its class, the shape that it claims, and what it holds."""
    def element(kind, data):
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    matrix = element(14, head + element(1, b"pts") + content)
    start = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    return lambda root: (root / MAT).write_bytes(
        start + (element(15, zlib.compress(matrix, 9)) if packed else matrix))


def first_and_last_gone(root):
    for number in (1, 6):
        (root / SHOTS / f"LeftVideoSN001_comp_000{number}.png").unlink()


DISFA = {
    "missing picture": (lambda r: (r / SHOT).unlink(), 1, SHOTS, 3, "no picture of frame 3"),
    "from zero or one": (first_and_last_gone, 6, SHOTS, 1, "cannot be told whether pictures count from 0 or 1"),
    "no pictures": (lambda r: shutil.rmtree(r / SHOTS), 6, "SN001", 1, "no pictures or video of this subject"),
    "no landmarks": (lambda r: shutil.rmtree(r / PLACE), 6, "SN001", 1, "no landmarks of this subject"),
    "missing .mat": (lambda r: (r / MAT).unlink(), 1, PLACE, 3, "no landmark file of frame 3"),
    "zero-byte .mat": (lambda r: (r / MAT).write_bytes(b""), 1, MAT, 3, "is empty"),
    "cut .mat": (lambda r: (r / MAT).write_bytes((r / MAT).read_bytes()[:300]), 1, MAT, 3, "not readable as MATLAB v5"),
    "v7.3 .mat": (lambda r: write_v73_landmarks(r / MAT, [None]), 1, MAT, 3, "is MATLAB v7.3"),
    "other variable": (lambda r: savemat(r / MAT, {"points": 1}), 1, MAT, 3, "has no variable pts"),
    "68 landmarks": (lambda r: savemat(r / MAT, {"pts": np.ones((68, 2))}), 1, MAT, 3, "shape (68, 2), type double"),
    "landmark NaN": (lambda r: savemat(r / MAT, {"pts": np.full((66, 2), np.nan)}), 1, MAT, 3, "not a finite number"),
    "a table of cells": (v5(1, (2**15, 2**15), bytes(64)), 1, MAT, 3, "shape (32768, 32768), type cell, not"),
    "complex landmarks": (lambda r: savemat(r / MAT, {"pts": np.full((66, 2), 1j)}), 1, MAT, 3, "complex numbers"),
    "landmark 1e300": (lambda r: savemat(r / MAT, {"pts": np.full((66, 2), 1e300)}), 1, MAT, 3, "not a finite number"),
    "unpacks to 70 MB": (v5(6, (66, 2), bytes(70_000_000), packed=True), 1, MAT, 3, "at most 65,536 are read"),
    "missing label file": (lambda r: (r / LABEL).unlink(), 6, "ActionUnit_Labels/SN001", 3, "no label of AU 4"),
    "empty label file": (lambda r: (r / LABEL).write_text(""), 6, LABEL, "", "is empty"),
    "duplicate frame": (lambda r: append(r / LABEL, "2,0\n"), 0, LABEL, 7, "frame 2 is in a line above already"),
    "frame 0": (lambda r: append(r / LABEL, "0,0\n"), 0, LABEL, 7, "frames count from 1"),
    "text for a label": (lambda r: edit(r / LABEL, 3, 1, "much"), 1, LABEL, 3, "the intensity is 'much'"),
    "label 6": (lambda r: edit(r / LABEL, 3, 1, "6"), 1, LABEL, 3, "the intensity is 6; it must be 0 to 5"),
    "three cells": (lambda r: edit(r / LABEL, 3, 1, "1,1"), 1, LABEL, 3, "3 cells, not frame,intensity"),
}


@pytest.mark.parametrize(("name", "kind"), [*(("bp4d", kind) for kind in BP4D), *(("disfa", kind) for kind in DISFA)])
def test_bad_input_is_skipped_counted_and_named(stand_ins, copied, tmp_path, name, kind):
    breaks, lost, file, row, reason = {"bp4d": BP4D, "disfa": DISFA}[name][kind]
    root = copied(name)
    breaks(root)
    folder = prepare(name, root, tmp_path / "p")
    assert len(folder) == len(stand_ins[name].index) - lost
    lines = skipped(folder)
    assert any(line[:2] == (file, str(row)) and reason in line[2] for line in lines), lines
    whole_file = name == "bp4d" and row == ""  # nobody knows how many rows it had
    assert folder.meta["skipped"] == (0 if whole_file else lost or 1)
    assert sum(sequence.rows for sequence in SOURCES[name](root).sequences) == len(folder) + folder.meta["skipped"]
    with pytest.raises(DataError, match="--strict stops here") as caught:
        prepare(name, root, tmp_path / "strict", strict=True)
    assert "\n" not in str(caught.value)


# --- what is no broken file, but is said too


@pytest.mark.parametrize(("name", "old", "new", "rows"), [("bp4d", "F001", "F099", 8), ("disfa", "SN001", "SN014", 6)])
def test_a_subject_in_no_fold(stand_ins, copied, tmp_path, name, old, new, rows):
    root = copied(name)
    rename_files(root, f"*{old}*", lambda path: path.name.replace(old, new))
    folder = prepare(name, root, tmp_path / "p")
    assert len(folder) == len(stand_ins[name].index) - rows
    assert {line[2] for line in skipped(folder)} == {f"subject {new} is in no published fold of {name.upper()}"}


def test_subjects_without_any_label_file_are_named(copied):
    root = copied("bp4d")
    for task in ("T1", "T2"):
        (root / f"AUCoding/AU_OCC/F003_{task}.csv").unlink()
    said = SOURCES["bp4d"](root).missing
    assert said[0].startswith("label files of 39 subjects: F002 F003 F005 F006")
    assert said[1:] == ["F003 T1: no label file", "F003 T2: no label file"]
    assert SOURCES["bp4d"](root, subjects=["F001"]).missing == []


TWICE = {  # what is copied where; what is said of it: the first is read, the second is not
    "bp4d": ([("AUCoding/AU_OCC", "Labels"), ("2DFeatures", "3DFeatures"), ("Sequences(2D+3D)", "crops"),
              (f"{PICTURES}/2440.jpg", "2F01_T1.avi")],
             [("label files: 6", LABELS, "Labels/F001_T1.csv"),
              ("landmark files: 6", POINTS, "3DFeatures/F001_T1.mat"),
              ("pictures or videos: 6", PICTURES, "crops/F001/T1"),
              ("pictures or videos: 1", PICTURES, "2F01_T1.avi")]),
    "disfa": ([("ActionUnit_Labels/SN001", "Labels/SN001"), (PLACE, "Landmark_Points/SN001/zz"),
               (SHOTS, "Videos_LeftCamera/other_SN001"), (SHOTS, "aligned/SN001"),  # the second names no camera
               (SHOTS, "Right/SN001")],  # another camera is no double
              [("label files: 8", LABEL.replace("au4", "au1"), "Labels/SN001/SN001_au1.txt"),
               ("folders of landmarks: 1", PLACE, "Landmark_Points/SN001/zz"),
               ("pictures or videos (left camera): 1", SHOTS, "Videos_LeftCamera/other_SN001"),
               ("pictures or videos (left camera): 1", SHOTS, "aligned/SN001")]),
}


@pytest.mark.parametrize("name", TWICE)
def test_what_is_there_twice_is_said_and_one_of_them_is_read(stand_ins, copied, tmp_path, name):
    root, (copies, said) = copied(name), TWICE[name]
    for source, target in copies:
        (shutil.copytree if (root / source).is_dir() else shutil.copyfile)(root / source, root / target)
        for path in [root / target, *(root / target).rglob("*")]:
            if path.is_file():
                path.write_text("another")
    assert SOURCES[name](root).found[4:] == [
        f"{count} twice, such as {first}, which is read, and {second}, which is not" for count, first, second in said]
    assert_same_as(stand_ins[name], prepare(name, root, tmp_path / "p"))


@pytest.mark.parametrize("name", SOURCES)
def test_what_systems_put_beside_files_is_no_data(stand_ins, copied, tmp_path, name):
    root = copied(name)
    files = [path for path in root.rglob("*") if path.is_file()]
    shutil.copytree(root, root / "__MACOSX" / root.name)
    for path in files:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        thumbnail = path.parent / "@eaDir" / path.name / "THUMB_1.jpg"
        thumbnail.parent.mkdir(parents=True)
        thumbnail.write_bytes(b"no picture")
        (path.parent / "Thumbs.db").write_bytes(b"no picture")
    assert_same_as(stand_ins[name], prepare(name, root, tmp_path / "out", strict=True))


@pytest.mark.parametrize("name", SOURCES)
def test_endings_in_any_case(stand_ins, copied, tmp_path, name):
    root = copied(name)
    rename_files(root, "*.[cmtjp]*", lambda path: path.stem + path.suffix.upper())
    assert not list(root.rglob("*.mat"))
    assert_same_as(stand_ins[name], prepare(name, root, tmp_path / "out", strict=True))


def test_a_copy_of_a_picture_and_a_turned_one_are_no_frames(stand_ins, copied, tmp_path):
    root = copied("bp4d")
    picture = root / PICTURES / "2441.jpg"
    shutil.copy(picture, picture.with_name("2441 (1).jpg"))
    assert_same_as(stand_ins["bp4d"], prepare("bp4d", root, tmp_path / "out", strict=True))
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(picture) as opened:
        opened.save(picture, exif=exif)
    assert (picture.relative_to(root).as_posix(), "2441",
            "not readable as a picture (is stored turned (EXIF orientation 6))") in skipped(
                prepare("bp4d", root, tmp_path / "turned"))
