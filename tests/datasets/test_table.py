"""Tables of other tools: small real files in each tool's own header, read back, prepared, and broken one by one."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from preparations import QUIET, skipped
from test_fuzz import mutate, mutations

from lorral_lite.cli import main
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.stand_in import _faces, with_jaw, write_image, write_video
from lorral_lite.datasets.table import prepare_table
from lorral_lite.datasets.table_rows import MESH_49, read_table
from lorral_lite.faces import render_faces
from lorral_lite.faces.population import Population
from lorral_lite.files import DataError
from lorral_lite.landmarks import FROM_68, MIRROR, align_face

N, SIDE = 4, 96
AUS = (1, 2, 4, 12)


@pytest.fixture(scope="module")
def faces():
    people = Population("bp4d", seed=0)
    pictures, points = _faces(people.subjects(1, N), people, SIDE, "table", 0)
    return pictures, points.astype(float)


LABELS = np.array([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1]])
LEVELS = np.array([[0.5, 2.0, 1.9, 3.0], [2.5, 4.0, 0, 0.1], [0, 0, 0, 5.0], [2, 1.99, 3, 2]])


def points_68(face):
    points = np.zeros((68, 2))
    points[:17], points[FROM_68], points[60], points[64] = with_jaw(face)[:17], face, face[31], face[37]
    return points


def openface(points):
    head = ["frame", "face_id", "timestamp", "confidence", "success", *(f"x_{k}" for k in range(68)),
            *(f"y_{k}" for k in range(68)), *(f"AU{au:02d}_r" for au in AUS), *(f"AU{au:02d}_c" for au in (*AUS, 28))]
    rows = [[k + 1, 0, k / 30, 0.98, 1, *points_68(face)[:, 0], *points_68(face)[:, 1], *LEVELS[k], *LABELS[k], 0]
            for k, face in enumerate(points)]
    return [[name if k == 0 else f" {name}" for k, name in enumerate(head)], *rows]


def pyfeat(points, video="x.avi"):
    head = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", *(f"x_{k}" for k in range(68)),
            *(f"y_{k}" for k in range(68)), "AU01", "AU02", "AU04", "AU12", "Pitch", "Roll", "Yaw", "anger", "input",
            "frame"]
    return [head, *([0, 0, 9, 9, 0.99, *points_68(face)[:, 0], *points_68(face)[:, 1], *(LEVELS[k] / 5), 0, 0, 0, 0.1,
                     video, k] for k, face in enumerate(points))]


def mesh(points, scale=1.0, shift=0.0):
    everything = np.zeros((len(points), 478, 2))
    everything[:, list(MESH_49)] = (points + shift) * scale
    return everything


def pyfeat_v2(points):
    head = ["FaceScore", "valence", "arousal", "Happy", *(f"mesh_{axis}_{k}" for axis in "xyz" for k in range(478)),
            "AU01", "AU02", "AU04", "AU12", "Identity", "frame"]
    vertices = mesh(points)
    return [head, *([0.9, 0, 0, 0.5, *vertices[k, :, 0], *vertices[k, :, 1], *np.zeros(478), *(LEVELS[k] / 5),
                     "Person_0", k] for k in range(len(points)))]


def libreface(points):
    head = ["", "frame_idx", "frame_time_in_ms", "au_1", "au_2", "au_4", "au_12",
            *(f"au_{au}_intensity" for au in AUS), "facial_expression",
            *(f"lm_mp_{k}_{axis}" for k in range(468) for axis in "xyz")]
    shares = np.concatenate([mesh(points, 1 / SIDE, 0.5)[:, :468], np.zeros((len(points), 468, 1))], 2)
    return [head, *([k, k, 33 * k, *LABELS[k], *LEVELS[k], "Neutral", *shares[k].ravel()] for k in range(len(points)))]


def own(points, **more):
    head = ["image", *more, *(f"{axis}_{k}" for k in range(49) for axis in "xy"), *(f"AU{au}" for au in AUS)]
    return [head, *([f"rec/{k}.png", *(column[k] for column in more.values()), *face.ravel(), *LABELS[k]]
                    for k, face in enumerate(points))]


WRITERS = {"openface": openface, "py-feat": pyfeat, "py-feat 2": pyfeat_v2, "libreface": libreface, "own": own}


def save(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf8") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="module")
def home(faces, tmp_path_factory):
    """One folder with a table of each tool, pictures numbered from 0 in ``rec`` and the same as videos."""
    folder = tmp_path_factory.mktemp("tables")
    pictures, points = faces
    for k, picture in enumerate(pictures):
        write_image(folder / "rec" / f"{k}.png", picture)
        write_image(folder / "ffmpeg" / f"frame_{k + 1}.png", picture)
    write_video(folder / "x.avi", pictures, 25)
    for name, writer in WRITERS.items():
        save(folder / f"{name}.csv", writer(points))
    return folder


# --- reading


@pytest.mark.parametrize("name", WRITERS)
def test_each_tool_is_known_by_its_header(home, faces, name):
    table = read_table(home / f"{name}.csv")
    assert table.kind == name.split()[0]
    assert table.aus == AUS
    assert [row.frame for row in table.rows] == {"openface": [1, 2, 3, 4], "own": [1, 2, 3, 4]}.get(name, [0, 1, 2, 3])
    assert {row.subject for row in table.rows} == {name}
    assert table.relative == (name == "libreface")
    points = np.stack([row.points for row in table.rows])
    if table.relative:
        points = points * SIDE - 0.5
    np.testing.assert_allclose(points, faces[1], atol=1e-3)
    expected = LEVELS / 5 >= 0.5 if table.kind == "py-feat" else LABELS
    assert (np.stack([row.labels for row in table.rows]) == expected).all()
    assert not table.skips


def test_a_threshold_reads_intensities(home):
    for name in ("openface", "libreface"):
        table = read_table(home / f"{name}.csv", threshold=2)
        assert (np.stack([row.labels for row in table.rows]) == (LEVELS >= 2)).all()
    table = read_table(home / "py-feat.csv", threshold=0.3)
    assert (np.stack([row.labels for row in table.rows]) == (LEVELS / 5 >= 0.3)).all()


def test_the_mesh_keeps_left_and_right_apart():
    """The mirror of a mesh point is the vertex of the mirrored point; pairs as MediaPipe's own lists name them."""
    pairs = {70: 300, 63: 293, 105: 334, 66: 296, 107: 336, 98: 327, 97: 326, 33: 263, 160: 387, 158: 385, 133: 362,
             153: 380, 144: 373, 61: 291, 40: 270, 37: 267, 91: 321, 84: 314, 81: 311, 178: 402}
    pairs |= {b: a for a, b in pairs.items()} | {k: k for k in (168, 197, 5, 1, 2, 0, 17, 13, 14)}
    assert [pairs[MESH_49[k]] for k in range(49)] == [MESH_49[k] for k in MIRROR]
    face = render_faces({}, 100, seed=1, yaw=0.0, roll=0.0, asymmetry=0.0).landmarks[0].numpy()
    left = {MESH_49[k] for k in range(49) if face[k, 0] < face[13, 0] - 1}
    assert left == set(list(pairs)[:20])  # the first of each pair is on the left of the image


def test_rows_that_the_options_leave_out(faces, tmp_path):
    rows = openface(faces[1])
    rows[1][3], rows[2][4] = 0.5, 0
    table = read_table(save(tmp_path / "a.csv", rows))
    assert [(skip.row, skip.chosen) for skip in table.skips] == [(2, True), (3, True)]
    assert "confidence 0.5 is below 0.7" in table.skips[0].reason
    assert "success is not 1" in table.skips[1].reason
    assert len(read_table(tmp_path / "a.csv", confidence=0.4).rows) == 3


def test_the_better_of_two_faces_in_a_frame_is_kept(faces, tmp_path):
    rows = openface(faces[1])
    rows[2][0], rows[2][3] = 1, 0.99
    table = read_table(save(tmp_path / "a.csv", rows))
    assert [row.line for row in table.rows if row.frame == 1] == [3]
    assert [(skip.row, skip.reason) for skip in table.skips] == [(2, "the same frame as row 3, which was kept")]


def test_subjects_from_a_column_or_an_option(faces, home, tmp_path):
    path = save(tmp_path / "a.csv", own(faces[1], subject=["a", "b", "a", "c"], task=["t"] * 4, frame=[7, 8, 9, 10]))
    assert [row[:3] for row in read_table(path).rows] == [("a", "t", 7), ("b", "t", 8), ("a", "t", 9), ("c", "t", 10)]
    with pytest.raises(DataError, match="--subject names one person, but column subject has 'a' and 'c'"):
        read_table(path, subject="me")
    one = save(tmp_path / "one.csv", own(faces[1], Participant=["a", "a", "A", "nan"]))
    assert {row.subject for row in read_table(one, subject=" me ").rows} == {"me"}
    assert [(row.subject, row.line) for row in read_table(one).rows] == [("a", 2), ("a", 3), ("A", 4)]
    table = read_table(home / "py-feat 2.csv", subject_column="Identity")
    assert {row.subject for row in table.rows} == {"py-feat 2_Person_0"}  # the next table has a Person_0 too
    with pytest.raises(DataError, match="--subject a and --subject-column Identity: give one"):
        read_table(home / "py-feat 2.csv", subject="a", subject_column="Identity")


def two_faces(points, order="LRLRLR", frames=(1, 1, 2, 2, 3, 3), numbers="010101", name="face_id"):
    """A table of OpenFace about a person on the left and one on the right."""
    head, first, *_ = openface(points[:1])
    head[1] = f" {name}"
    rows = [[*first] for _ in order]
    for row, side, frame, number in zip(rows, order, frames, numbers, strict=True):
        row[0], row[1] = frame, number
        row[5:141] = points_68(points[0] + [SIDE * (side == "R"), 0]).T.ravel()
    return [head, *rows]


def test_numbered_faces_side_by_side_are_people_of_their_own(faces, tmp_path):
    table = read_table(save(tmp_path / "t.csv", two_faces(faces[1])))
    assert [(row.subject, row.frame) for row in table.rows] == [(f"t_{k}", n) for n in (1, 2, 3) for k in (0, 1)]
    assert {row.subject for row in read_table(tmp_path / "t.csv", subject_column="face_id").rows} == {"t_0", "t_1"}


@pytest.mark.parametrize(("changes", "subject", "said"), [
    ({"order": "LRLRRL"}, None, "in row 6 face '0' is where another one was before"),
    ({"frames": (1, 4, 2, 5, 3, 6)}, None, "has '0' and '1', never in one frame: .* --subject-column face_id"),
    ({"numbers": "000000"}, None, "rows 2 and 3 are two faces in frame 1, but one person, 't'"),
    ({"name": "row"}, None, "rows 2 and 3 are two faces in frame 1, but one person, 't'"),
    ({}, "me", "rows 2 and 3 are two faces in frame 1, but one person, 'me'"),
])
def test_faces_that_may_be_one_person_or_two_are_a_question(faces, tmp_path, changes, subject, said):
    with pytest.raises(DataError, match=said):
        read_table(save(tmp_path / "t.csv", two_faces(faces[1], **changes)), subject=subject)


def test_the_reader_may_say_that_a_face_found_again_is_one_person(faces, tmp_path):
    table = read_table(save(tmp_path / "t.csv", two_faces(faces[1], frames=(1, 4, 2, 5, 3, 6))), subject="me")
    assert [(row.subject, row.frame) for row in table.rows] == [("me", n) for n in (1, 4, 2, 5, 3, 6)]


def test_unknown_labels(faces, tmp_path):
    rows = own(faces[1])
    rows[1][-4:], rows[2][-4:] = [9, -1, "", "nan"], [1, 0, 9, 1]
    table = read_table(save(tmp_path / "a.csv", rows))
    assert table.rows[0].labels.tolist() == [-1, -1, -1, -1]
    assert table.rows[1].labels.tolist() == [1, 0, -1, 1]


# --- preparing


@pytest.mark.parametrize(("name", "images"), [
    ("openface", "x.avi"), ("openface", "rec"), ("openface", "ffmpeg"), ("py-feat", None), ("py-feat", "rec"),
    ("py-feat 2", "ffmpeg"), ("libreface", "x.avi"), ("libreface", "rec"), ("own", None),
])
def test_prepared_frames_are_those_of_the_table(home, faces, tmp_path, name, images):
    folder = prepare_table(tmp_path / "out", home / f"{name}.csv", images and home / images, size=64, **QUIET)
    assert len(folder) == N
    assert folder.meta["licensed"] is True
    assert folder.meta["tools"] == [name.split()[0]]
    for k in range(N):
        wanted, moved = align_face(faces[0][k], faces[1][k], 64)
        errors = [np.abs(align_face(faces[0][j], faces[1][k], 64)[0].astype(int) - folder.images[k]).mean()
                  for j in range(N)]
        assert np.argmin(errors) == k, "another frame's picture"
        assert np.abs(wanted.astype(int) - folder.images[k]).mean() < (6 if "avi" in str(images or "x.avi") else 1)
        np.testing.assert_allclose(folder.landmarks[k], moved, atol=0.02)


def test_a_picture_that_is_not_there_is_not_replaced_by_another(home, faces, tmp_path):
    rows = own(faces[1])
    rows[2][0] = "rec/nobody.png"
    path = save(home / "gap.csv", rows)
    folder = prepare_table(tmp_path / "out", path, home / "rec", size=32, **QUIET)
    assert folder.frames.tolist() == [1, 3, 4]
    assert skipped(folder) == [("gap.csv", "3", "no such picture: rec/nobody.png")]


def test_several_tables_and_what_may_be_shared(home, faces, tmp_path):
    for name in ("ann", "ben"):
        save(tmp_path / f"{name}.csv", openface(faces[1]))
        write_video(tmp_path / "videos" / f"{name}.avi", faces[0], 25)
    folder = prepare_table(tmp_path / "out", [tmp_path / "ann.csv", tmp_path / "ben.csv"], tmp_path / "videos",
                           aus=[12, 1], size=48, may_share=True, **QUIET)
    assert folder.aus == (12, 1)
    assert folder.meta["licensed"] is False
    assert sorted(set(folder.subjects)) == ["ann", "ben"]
    assert (folder.labels[:N] == LABELS[:, [3, 0]]).all()


def test_frames_that_cannot_be_used_are_listed(home, faces, tmp_path):
    rows = openface(faces[1])
    rows[1][8], rows[2][-5], rows[3][5:141] = "left", 7, [0] * 136
    path = save(tmp_path / "a.csv", [*rows, [9, *rows[4][1:]]])
    folder = prepare_table(tmp_path / "out", path, home / "rec", size=48, **QUIET)
    assert folder.frames.tolist() == [4]
    assert {row: reason for _, row, reason in skipped(folder)} == {
        "2": "a landmark is 'left', not a number",
        "3": "AU 1 is 7: 0, 1 or 9 (unknown) can be read, or name a --threshold",
        "4": "all landmarks are zero", "6": "no picture of frame 9 in rec",
    }
    with pytest.raises(DataError, match="row 2: a landmark is 'left'"):
        prepare_table(tmp_path / "strict", path, home / "rec", strict=True, **QUIET)


def test_landmarks_that_are_no_numbers_and_labels_out_of_range(faces, tmp_path):
    rows = openface(faces[1])
    rows[1][40], rows[2][40], rows[3][-9], rows[4][0] = "nan", "inf", 5.5, "third"
    skips = read_table(save(tmp_path / "a.csv", rows), threshold=1).skips
    assert [(skip.row, skip.reason) for skip in skips] == [
        (2, "no landmarks"), (3, "no landmarks"), (4, "AU 1 is 5.5, outside 0 to 5"),
        (5, "the frame is 'third', not a number")]
    for number in ("1_0", "\uff11", "\u0661"):  # Python's own spelling, and digits that are not ours
        rows = openface(faces[1])
        rows[1][40] = number
        assert [skip.row for skip in read_table(save(tmp_path / "a.csv", rows)).skips] == [2]


@pytest.mark.parametrize(("content", "said"), [
    (b"", "not the header"),
    (b"a,b\n1,2\n", "not the header"),
    (b"\x89PNG\x00\xff\xfe", r"not a text file in UTF-8 \(row 1\)"),
    ("image,x_48,AU1\np.png,1,1\nJürgen,1,1".encode("cp1252"), r"UTF-8 \(row 3\); save the table as “CSV UTF-8”"),
    (b'image,x_48,"AU1\n', "not readable as CSV"),
    (b"image;x_48;AU1\n1;0,5;1\n", "its cells are separated by semicolons; save it with commas"),
    (b'"image";"x_48";"AU1"\n', "its cells are separated by semicolons"),
    (b"frame\tconfidence\tx_67\n", "its cells are separated by tabs"),
    (b"1," * 600_000, "a line has more than 1,048,576 characters"),
    (b'"\n",' * 300_000, "not the header of OpenFace"),
])
def test_files_that_are_no_table(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(("writer", "change", "said"), [
    (openface, lambda head: [*head[:7], "z", *head[8:]], "no column x_2"),
    (openface, lambda head: [*head[:2], "frame", *head[3:]], "two columns are called frame"),
    (openface, lambda head: [name.replace("AU", "") for name in head], "no column of an AU"),
    (openface, lambda head: ["nr", *head[1:]], "neither a column for the frame"),
    (libreface, lambda head: head[:12], "no landmarks"),  # as old versions wrote it
    (own, lambda head: [*head[:-1], "AU01"], "AU1 and AU01 are one AU"),
])
def test_headers_that_lack_something(faces, tmp_path, writer, change, said):
    head, *rows = writer(faces[1])
    with pytest.raises(DataError, match=said):
        read_table(save(tmp_path / "a.csv", [change(head), *rows]))


@pytest.mark.parametrize(("tables", "images", "options", "said"), [
    (["openface.csv"], "rec", {"aus": [1, 24]}, r"no column for AU 24; it has 1, 2, 4, 12"),
    (["py-feat.csv"], "rec", {"subject_column": "Person"}, "no column Person"),
    (["openface.csv"], None, {}, "no video, no folder of pictures and no picture called openface"),
    (["openface.csv"], "nowhere", {}, "nowhere: no such file or folder"),
    (["own.csv", "own.csv"], None, {"subject": "me"}, "a second table for subject me"),
    (["own.csv", "own.csv"], None, {}, "another table has this name too"),
    (["openface.csv"], "rec", {"subject": " "}, "--subject names nobody"),
    (["openface.csv"], "rec", {"threshold": 0}, "--threshold 0: OpenFace's AUs go from 0 to 5"),
    (["py-feat.csv"], "rec", {"threshold": 2}, "--threshold 2: py-feat's AUs go from 0 to 1"),
])
def test_what_is_asked_for_and_not_there(home, tmp_path, tables, images, options, said):
    with pytest.raises(DataError, match=said):
        prepare_table(tmp_path / "o", [home / name for name in tables], images and home / images, **options, **QUIET)


def test_pictures_elsewhere_are_not_read(home, faces, tmp_path):
    """A table may come from anybody: it names pictures in its own folder, the reader names other folders."""
    rows = own(faces[1])
    rows[1][0], rows[2][0], rows[3][0] = str(home / "rec" / "0.png"), "../private/me.png", "../t/rec/2.png"
    path = save(tmp_path / "t" / "t.csv", rows)
    write_image(tmp_path / "private" / "me.png", faces[0][0])
    for k in range(N):
        write_image(tmp_path / "t" / "rec" / f"{k}.png", faces[0][k])
    folder = prepare_table(tmp_path / "out", path, size=32, **QUIET)
    assert folder.frames.tolist() == [1, 3, 4], "rec/0.png of the table's own folder"
    assert [(row, reason) for _, row, reason in skipped(folder)] == [
        ("3", "no such picture: ../private/me.png; name its folder with --images")]


def picture_table(points, writer):
    """What OpenFace and LibreFace write about one picture: neither a frame nor a name."""
    out = ("frame", "face_id", "timestamp", "success", "", "frame_idx", "frame_time_in_ms")
    keep = [k for k, name in enumerate(writer(points)[0]) if name.strip() not in out]
    return [[row[k] for k in keep] for row in writer(points)]


def test_two_faces_in_one_picture_are_two_people(faces, tmp_path):
    rows = picture_table(faces[1], lambda points: two_faces(points, "LR", (1, 1), "01", "face"))
    assert [row.subject for row in read_table(save(tmp_path / "p.csv", rows)).rows] == ["p_0", "p_1"]


@pytest.mark.parametrize("writer", [openface, libreface])
def test_a_table_about_one_picture(faces, tmp_path, writer):
    for k in range(2):
        save(tmp_path / f"p{k}.csv", picture_table(faces[1][k : k + 1], writer))
        write_image(tmp_path / f"p{k}.png", faces[0][k])
    tables = [tmp_path / "p0.csv", tmp_path / "p1.csv"]
    folder = prepare_table(tmp_path / "out", tables, subject="ann", size=48, **QUIET)
    for k in range(2):
        assert np.abs(align_face(faces[0][k], faces[1][k], 48)[0].astype(int) - folder.images[k]).mean() < 1
    assert len(prepare_table(tmp_path / "one", tables[0], size=48, **QUIET)) == 1
    with pytest.raises(DataError, match=r"p0\.csv: its name is that of a picture; say who it is"):
        prepare_table(tmp_path / "who", tables, size=48, **QUIET)
    write_image(tmp_path / "p0.jpg", faces[0][0])
    with pytest.raises(DataError, match=r"p0\.jpg and p0\.png could both be its pictures"):
        prepare_table(tmp_path / "two", tables[0], size=48, **QUIET)
    (tmp_path / "p1.png").unlink()
    with pytest.raises(DataError, match=r"p1\.csv: no video, .* and no picture called p1 beside it"):
        prepare_table(tmp_path / "none", tables[1], size=48, **QUIET)


def test_a_threshold_that_nothing_reaches_is_said(home, faces, tmp_path):
    rows = openface(faces[1])
    for row in rows[1:]:
        row[141:145] = [0.25] * 4
    heard = []
    prepare_table(tmp_path / "out", save(tmp_path / "t.csv", rows), home / "rec", threshold=2, size=32,
                  **{**QUIET, "say": heard.append})
    assert heard[:3] == ["people: 1", "  t: 4 frames",
                         f"{tmp_path / 't.csv'}: no AU is ever shown: the highest value is 0.25, below the threshold "
                         "of 2"]


def test_two_pictures_of_one_number(home, tmp_path):
    for name in ("a_1.png", "a_01.png"):
        write_image(tmp_path / "twice" / name, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"a_1\.png: the same number as a_01\.png"):
        prepare_table(tmp_path / "o", home / "openface.csv", tmp_path / "twice", **QUIET)


def test_the_command(home, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prepare", "table", str(home / "openface.csv"), str(out), "--images", str(home / "x.avi"), "--subject",
                 "ann", "--size", "48", "--quiet", "--threshold", "2", "--aus", "12", "4"]) == 0
    assert "4 frames of 1 subjects, 48 px, AUs 12 4" in capsys.readouterr().out
    assert (open_prepared(out).labels == (LEVELS[:, [3, 2]] >= 2)).all()
    assert main(["prepare", "table", str(tmp_path / "no.csv"), str(tmp_path / "o"), "--quiet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_tables_that_cannot_be_used_leave_the_others_alone(home, faces, tmp_path):
    """Broken ones of one name, one of two videos for one person, one whose name is no text."""
    save(tmp_path / "good.csv", own(faces[1]))
    rows = own(faces[1], frame=[1, 2, 3, 4])
    for k, row in enumerate(rows[1:]):
        row[0] = f"{k % 2}.avi"
        write_video(tmp_path / row[0], faces[0], 25)
    two = save(tmp_path / "two.csv", rows)
    broken = [tmp_path / place / "\udcff.csv" for place in ("a", "b")]
    for path in broken:
        path.parent.mkdir()
        path.write_text("x")
    for k, picture in enumerate(faces[0]):
        write_image(tmp_path / "rec" / f"{k}.png", picture)
    folder = prepare_table(tmp_path / "out", [broken[0], two, tmp_path / "good.csv", broken[1]], size=16, **QUIET)
    assert set(folder.subjects) == {"good"}
    assert sum("not the header" in line for line in folder.meta["left_out"]) == 2
    assert sum("more than one video" in line for line in folder.meta["left_out"]) == 1


# --- fuzz


def fuzz(home, examples):
    """A mutated table gives a prepared folder whose totals add up, or one DataError in one line and nothing else."""
    path = home / "fuzzed.csv"

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(list(WRITERS)), mutations())
    def one(name, changes):
        path.write_bytes(mutate((home / f"{name}.csv").read_bytes(), changes))
        with tempfile.TemporaryDirectory() as place:
            try:
                images = None if name == "own" else home / "rec"
                folder = prepare_table(Path(place, "out"), path, images, size=16, **QUIET)
            except DataError as error:
                clean = "\n" not in str(error) and not list(Path(place).iterdir())
                assert clean, f"more than one line, or something was left: {error}"  # noqa: PT017
                return
            with open(path, newline="", encoding="utf8") as file:
                lines = sum(any(cell.strip() for cell in cells) for cells in csv.reader(file, skipinitialspace=True))
            assert len(folder) + folder.meta["skipped"] == lines - 1
            assert np.isin(folder.labels, (-1, 0, 1)).all()
            assert np.isfinite(folder.landmarks).all()

    one()


def test_a_broken_table_is_one_clear_line(home):
    fuzz(home, 60)


@pytest.mark.slow
def test_many_broken_tables(home):
    fuzz(home, 700)
