"""Pictures and videos as the tool saw them: which way up, in which order, of which size; else it is asked."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from preparations import QUIET, skipped
from test_table import SIDE, N, libreface, mesh, openface, own, pyfeat, save

from lorral_lite.cli import main
from lorral_lite.datasets import videos
from lorral_lite.datasets.stand_in import _faces, write_image, write_video
from lorral_lite.datasets.table import prepare_table
from lorral_lite.datasets.table_rows import MESH_49
from lorral_lite.datasets.videos import Video, look_at_video
from lorral_lite.faces.population import Population
from lorral_lite.files import DataError
from lorral_lite.landmarks import align_face
from lorral_lite.pictures import TURNS, upright

TALL = SIDE + 40
BACK = {6: 8, 8: 6}  # the turn that undoes one; the others undo themselves


def turned(points, orientation, width=SIDE, height=TALL):
    """Points of a picture as it is shown → of the same picture as it is stored."""
    swap, flip_x, flip_y = TURNS[BACK.get(orientation, orientation)]
    x, y = points[..., 0], points[..., 1]
    (x, width), (y, height) = ((y, height), (x, width)) if swap else ((x, width), (y, height))
    return np.stack([width - 1 - x if flip_x else x, height - 1 - y if flip_y else y], -1)


@pytest.fixture(scope="module")
def faces():
    people = Population("bp4d", seed=0)
    pictures, points = _faces(people.subjects(1, N), people, SIDE, "table", 0)
    return pictures, points.astype(float)


@pytest.fixture(scope="module")
def tall(faces):
    """Faces in pictures that are higher than wide, and their landmarks."""
    return [np.pad(picture, ((0, TALL - SIDE), (0, 0), (0, 0)), mode="edge") for picture in faces[0]], faces[1]


def stored(picture, orientation):
    return np.ascontiguousarray(upright(picture, BACK.get(orientation, orientation)))


def photographs(folder, pictures, orientation, names=("001.png", "002.png", "003.png", "004.png")):
    folder.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(stored(picture, orientation)).save(folder / name, exif=exif)


def film(path, pictures, orientation, matrix, rate=25):
    """An MP4 of ``pictures`` as they are stored, with the display matrix that a phone writes."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [stored(picture, orientation) for picture in pictures]
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=rate, width=width, height=height, pix_fmt="yuvj420p")
        stream.options = {"qmin": "1", "qmax": "2"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    place = content.find(b"tkhd") + 44
    a, b, c, d = (value * 65536 for value in matrix)
    content[place : place + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(content)
    return path


def assert_faces_of(folder, tall, order=range(N), most=6):
    assert len(folder) == len(order)
    for row, k in enumerate(order):
        wanted = [align_face(picture, tall[1][k], folder.size)[0].astype(int) for picture in tall[0]]
        errors = [np.abs(one - folder.images[row]).mean() for one in wanted]
        assert np.argmin(errors) == k, "another picture"
        assert errors[k] < most


def prepare(tmp_path, table, images=None, **options):
    said = []
    folder = prepare_table(tmp_path / "out", table, images, size=64, **{**QUIET, "say": said.append}, **options)
    return folder, " ".join(said)


def named(rows, names):
    """py-feat's table about pictures, not about a video."""
    return [rows[0], *([*row[:-2], name, row[-1]] for row, name in zip(rows[1:], names, strict=True))]


# --- which way up

PHOTOS = [f"pics/{k + 1:03d}.png" for k in range(N)]


@pytest.mark.parametrize("orientation", TURNS)
def test_openface_sees_photographs_upright(tall, tmp_path, orientation):
    photographs(tmp_path / "pics", tall[0], orientation)
    folder, said = prepare(tmp_path, save(tmp_path / "a.csv", openface(tall[1])), tmp_path / "pics")
    assert_faces_of(folder, tall, most=1)
    assert ("read upright" in said) == (orientation != 1)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pyfeat_sees_photographs_as_they_are_stored(tall, tmp_path, orientation):
    photographs(tmp_path / "pics", tall[0], orientation)
    table = save(tmp_path / "a.csv", named(pyfeat(turned(tall[1], orientation)), PHOTOS))
    folder, said = prepare(tmp_path, table)
    assert_faces_of(folder, tall, most=1)
    assert "read stored" in said


@pytest.mark.parametrize(("orientation", "matrix"), [(6, (0, 1, -1, 0)), (3, (-1, 0, 0, -1)), (8, (0, -1, 1, 0))])
@pytest.mark.parametrize("seen", ["upright", "stored"])
def test_the_landmarks_say_how_a_video_was_seen(tall, tmp_path, orientation, matrix, seen):
    film(tmp_path / "a.mp4", tall[0], orientation, matrix)
    assert look_at_video(tmp_path / "a.mp4").look.orientation == orientation
    points = tall[1] if seen == "upright" else turned(tall[1], orientation)
    folder, said = prepare(tmp_path, save(tmp_path / "a.csv", openface(points)))
    assert_faces_of(folder, tall)
    assert f"read {seen}" in said


def test_shares_of_a_turned_video_are_shares_of_what_is_shown(tall, tmp_path):
    film(tmp_path / "a.mp4", tall[0], 6, (0, 1, -1, 0))
    shares = (tall[1] + 0.5) / (SIDE, TALL)
    rows = libreface(shares * SIDE - 0.5)  # the writer divides by SIDE
    assert_faces_of(prepare(tmp_path, save(tmp_path / "a.csv", rows))[0], tall)


@pytest.mark.parametrize(("orientation", "rows"), [
    (6, lambda points: openface(turned(points, 6))),  # OpenFace turns such pictures: why do its faces lie?
    (6, lambda points: openface([points[0], *turned(points[1:], 6)])),  # of two minds
    (6, lambda points: named(pyfeat(points), PHOTOS)),  # py-feat does not, but its faces are upright: an old EXIF?
    (2, lambda points: own(points)),  # a mirrored face is a face
])
def test_what_cannot_be_told_is_asked(tall, tmp_path, orientation, rows):
    photographs(tmp_path / "pics", tall[0], orientation)
    photographs(tmp_path / "rec", tall[0], orientation, [f"{k}.png" for k in range(N)])
    table = save(tmp_path / "a.csv", rows(tall[1]))
    images = None if "image" in rows(tall[1])[0] else tmp_path / "pics"
    with pytest.raises(DataError, match="it cannot be told how the tool saw it; say --orientation upright"):
        prepare(tmp_path, table, images)
    assert not (tmp_path / "out").exists()
    for orientation in ("upright", "stored"):
        assert len(prepare_table(tmp_path / orientation, table, images, size=16, orientation=orientation, **QUIET))


def test_a_mirrored_video_is_asked_about_and_another_angle_refused(tall, tmp_path):
    film(tmp_path / "a.mp4", tall[0], 2, (-1, 0, 0, 1))
    table = save(tmp_path / "a.csv", libreface((tall[1] + 0.5) * (1, SIDE / TALL) - 0.5))
    with pytest.raises(DataError, match="say --orientation"):
        prepare(tmp_path, table)
    assert_faces_of(prepare(tmp_path, table, orientation="upright")[0], tall)
    film(tmp_path / "a.mp4", tall[0], 1, (0.7071, 0.7071, -0.7071, 0.7071))
    with pytest.raises(DataError, match="neither stored upright nor turned by right angles"):
        prepare(tmp_path / "b", table)


def test_a_source_that_names_no_orientation_skips_turned_pictures(tall, tmp_path):
    film(tmp_path / "a.mp4", tall[0], 6, (0, 1, -1, 0))
    assert Video(tmp_path / "a.mp4", [0]).read(slice(0, 1)) == ["the video is stored turned (as EXIF orientation 6)"]


# --- in which order


@pytest.mark.parametrize(("names", "rows", "options", "expected"), [
    (["1", "2", "10", "11"], openface, {}, "which picture is frame 2? 10.png if OpenFace read this folder"),
    (["1", "2", "10", "11"], openface, {"order": "names"}, [0, 2, 3, 1]),
    (["010", "020", "030", "040"], openface, {}, "say --order names if OpenFace read this folder"),
    (["010", "020", "030", "040"], openface, {"order": "names"}, [0, 1, 2, 3]),
    (["ann", "ben", "cat", "dan"], openface, {}, "no pictures with a number in their names"),
    (["3", "4", "5", "6"], openface, {}, [0, 1, 2, 3]),
    (["001", "002", "003"], openface, {"order": "names"}, "3 pictures, but the table has 4 frames"),
    (["002", "003", "004"], openface, {}, "which picture is frame 1? 002.png if OpenFace read this folder"),
    (["002", "003", "004"], openface, {"order": "numbers"}, [None, 0, 1, 2]),
    (["002", "003", "004"], libreface, {}, [None, 0, 1, 2]),
    (["001", "002", "003"], libreface, {}, "which is the first frame cannot be told"),
    (["a_1", "a_2", "b_3", "b_4"], libreface, {}, "a_1.png and b_3.png are not of one series of numbers"),
])
def test_frames_and_the_names_of_pictures(faces, tmp_path, names, rows, options, expected):
    if isinstance(expected, str):
        found = dict.fromkeys(names, 0)
    else:  # the row of the table that shows the k-th picture
        found = {names[k]: row for row, k in enumerate(expected) if k is not None}
    for name, row in found.items():
        write_image(tmp_path / "pics" / f"{name}.png", faces[0][row])
    table = save(tmp_path / "a.csv", rows(faces[1]))
    if isinstance(expected, str):
        with pytest.raises(DataError) as error:
            prepare(tmp_path, table, tmp_path / "pics", **options)
        assert expected in str(error.value)
    else:
        folder = prepare(tmp_path, table, tmp_path / "pics", **options)[0]
        assert_faces_of(folder, faces, [row for row, k in enumerate(expected) if k is not None], most=1)


def test_openface_gives_no_times_when_it_reads_a_folder(faces, tmp_path):
    rows = openface(faces[1])
    for row in rows[1:]:
        row[2] = 0
    for k, name in enumerate(("1", "10", "11", "2")):
        write_image(tmp_path / "a" / f"{name}.png", faces[0][k])
    write_image(tmp_path / "a" / "0.PNG", faces[0][0])  # which it does not read
    (tmp_path / "a" / "._1.png").write_bytes(b"Mac OS X")
    folder, said = prepare(tmp_path, save(tmp_path / "a.csv", rows))
    assert_faces_of(folder, faces, most=1)
    assert "as OpenFace reads a folder" in said


def test_pictures_are_those_that_the_table_names_or_none(faces, tmp_path):
    for k, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/2.png")):
        write_image(tmp_path / "there" / name, faces[0][k])
        write_image(tmp_path / "flat" / name[2:], faces[0][0])
    write_image(tmp_path / "secret.png", faces[0][0])
    names = [f"/elsewhere/{name}" for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png")]
    table = save(tmp_path / "tables" / "a.csv", named(pyfeat(faces[1]), names))
    assert_faces_of(prepare(tmp_path, table, tmp_path / "there")[0], faces, most=1)
    with pytest.raises(DataError, match="could both be"):
        prepare(tmp_path / "b", table, tmp_path / "flat")
    table = save(tmp_path / "tables" / "b.csv", named(pyfeat(faces[1]), ["2.png", "../secret.png", "/no.png", "x.png"]))
    folder = prepare(tmp_path / "c", table, tmp_path / "flat")[0]
    assert [reason.split(";")[0] for _, _, reason in skipped(folder)] == [
        "no such picture: ../secret.png", "no such picture: /no.png", "no such picture: x.png"]


def test_one_frame_and_a_folder_of_many_pictures(faces, tmp_path):
    for k in range(N):
        write_image(tmp_path / "pics" / f"photo{k}.jpg", faces[0][k])
    for stem in ("photo2", "t"):
        save(tmp_path / f"{stem}.csv", [openface(faces[1])[0], [1, *openface(faces[1])[3][1:]]])
    assert_faces_of(prepare(tmp_path, tmp_path / "photo2.csv", tmp_path / "pics")[0], faces, [2], most=9)
    with pytest.raises(DataError, match="no picture called t in"):
        prepare(tmp_path / "b", tmp_path / "t.csv", tmp_path / "pics")


def test_a_frame_of_a_video_under_two_names_is_one(faces, tmp_path):
    write_video(tmp_path / "x.avi", faces[0], 25)
    rows = named(pyfeat(faces[1]), ["x.avi", "./x.avi", "x.avi", "x.avi"])
    rows[2][-1] = 0
    assert skipped(prepare(tmp_path, save(tmp_path / "a.csv", rows))[0]) == [
        ("a.csv", "3", "the same frame of x.avi as row 2, which was kept")]


# --- is it the tool's own


@pytest.mark.parametrize("ending", ["MP4", "mov"])
def test_one_table_finds_its_video_in_the_folder_of_all(faces, tmp_path, ending):
    film(tmp_path / "recordings" / f"a.{ending}", faces[0], 1, (1, 0, 0, 1))
    table = save(tmp_path / "a.csv", openface(faces[1]))
    assert_faces_of(prepare(tmp_path, table, tmp_path / "recordings")[0], faces)
    film(tmp_path / "recordings" / "a.avi", faces[0], 1, (1, 0, 0, 1))
    with pytest.raises(DataError, match=f"a.{ending}.* could both be its pictures|a.avi and a.{ending}"):
        prepare(tmp_path / "b", table, tmp_path / "recordings")


@pytest.mark.parametrize(("frames", "rate", "writer", "said"), [
    ([0, 2], 30, openface, "has 2 frames, but a.csv has 4: it is not the video that the tool saw"),
    ([0, 0, 1, 1, 2, 2, 3, 3], 60, openface, "and 60 frames a second, not 30: it is not the video"),
    ([0, 1, 2, 3, 3], 30, openface, None),
    ([0, 1, 2, 3, 3], 30, libreface, "LibreFace repeats and drops frames"),
])
def test_a_video_of_other_frames_than_the_table(faces, tmp_path, frames, rate, writer, said):
    film(tmp_path / "a.mp4", [faces[0][k] for k in frames], 1, (1, 0, 0, 1), rate)
    table = save(tmp_path / "a.csv", writer(faces[1]))
    if said:
        with pytest.raises(DataError, match=said):
            prepare(tmp_path, table)
    else:
        folder, note = prepare(tmp_path, table)
        assert_faces_of(folder, faces)
        assert "has 5 frames, but a.csv has 4; the others are left out" in note


def test_a_picture_of_another_size_than_the_tool_saw(faces, tmp_path):
    write_video(tmp_path / "x.avi", faces[0], 25)
    rows = pyfeat(faces[1])
    rows = [[*rows[0], "FrameHeight", "FrameWidth"], *([*row, SIDE, SIDE * (2 if k == 1 else 1)]
                                                      for k, row in enumerate(rows[1:]))]
    folder = prepare(tmp_path, save(tmp_path / "a.csv", rows))[0]
    assert skipped(folder) == [("a.csv", "3", "x.avi has 96 × 96 pixels, but the tool saw 192 × 96")]
    table = save(tmp_path / "b.csv", openface(faces[1]))
    (tmp_path / "b_of_details.txt").write_text("Input:/x/b.mp4\nCamera parameters:175,175,96,96\n")
    with pytest.raises(DataError, match=r"x\.avi has 96 × 96 pixels, but the tool saw 192 × 192"):
        prepare(tmp_path / "c", table, tmp_path / "x.avi")
    (tmp_path / "b_of_details.txt").write_text("Output video:b.avi\n")
    write_video(tmp_path / "b.avi", faces[0], 25)
    with pytest.raises(DataError, match="OpenFace has drawn its landmarks into it"):
        prepare(tmp_path / "c", table)


def test_what_is_no_video_is_said_at_once(faces, tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        cover = container.add_stream("mjpeg", rate=25, width=SIDE, height=SIDE, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("aac", rate=8000)
        container.mux([*cover.encode(av.VideoFrame.from_ndarray(faces[0][0], format="rgb24")), *cover.encode()])
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux([*stream.encode(sound), *stream.encode()])
    table = save(tmp_path / "a.csv", openface(faces[1]))
    with pytest.raises(DataError, match=r"a\.mp4: has no pictures, only sound"):
        prepare(tmp_path, table)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.mp4: not readable as a video \(Invalid data"):
        prepare(tmp_path, table)
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("mjpeg", rate=25, width=SIDE, height=SIDE, pix_fmt="yuvj420p") for _ in "ab"]
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(faces[0][0], format="rgb24")))
            container.mux(stream.encode())
    with pytest.raises(DataError, match="holds 2 videos"):
        prepare(tmp_path, table, tmp_path / "two.mkv")


def test_frames_after_a_lost_one_are_not_taken_for_it(faces, tmp_path):
    av = pytest.importorskip("av")
    write_video(tmp_path / "a.avi", faces[0], 25)
    with av.open(str(tmp_path / "a.avi")) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray((tmp_path / "a.avi").read_bytes())
    start, size = packets[1]
    content[start - 8 : start + size] = bytes(size + 8)
    (tmp_path / "a.avi").write_bytes(content)
    with pytest.raises(DataError, match="the video is broken, 1 of its frames are lost"):
        prepare(tmp_path, save(tmp_path / "a.csv", openface(faces[1])))


def test_a_packet_without_its_frame_ends_the_video(monkeypatch, tmp_path):
    def packet(time, *times):
        return SimpleNamespace(size=99, pts=time, is_discard=False, is_keyframe=True,
                               decode=lambda: [SimpleNamespace(pts=one) for one in times])

    packets = [packet(0), packet(1, 0), packet(2, 2), packet(3, 3)]  # the frame of time 1 never comes
    stream = SimpleNamespace(codec_context=SimpleNamespace(name="any"))
    container = SimpleNamespace(demux=lambda _: packets)
    monkeypatch.setattr(videos, "_opened", lambda path: nullcontext((container, stream)))
    monkeypatch.setattr(Video, "_picture", lambda self, frame: frame.pts)
    assert Video(tmp_path / "a.avi", [0, 1, 2]).read(slice(0, 3)) == [0, *["the video is broken: frame 2 is lost"] * 2]


def test_a_frame_that_its_decoder_calls_broken_is_none(tmp_path):
    frame = SimpleNamespace(side_data=[], is_corrupt=True)
    assert Video(tmp_path / "a.avi", [0])._picture(frame).endswith("of the video is broken")


@pytest.mark.parametrize("name", ["photo.jpg", "photo.PNG"])
def test_a_table_of_one_photograph(faces, tmp_path, name):
    write_image(tmp_path / name, faces[0][0])
    rows = [["face", *row[3:]] if k == 0 else [0, *row[3:]] for k, row in enumerate(openface(faces[1])[:2])]
    folder = prepare(tmp_path, save(tmp_path / "photo.csv", rows))[0]
    assert_faces_of(folder, faces, [0], most=9)
    rows = libreface(faces[1])
    save(tmp_path / "photo.csv", [row[3:] for row in rows[:2]])
    assert len(prepare(tmp_path / "b", tmp_path / "photo.csv")[0]) == 1
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match="no picture called photo beside it"):
        prepare(tmp_path / "c", tmp_path / "photo.csv")


# --- meshes and thresholds


@pytest.mark.parametrize("count", [478, 468, 106])
def test_a_mesh_is_a_mesh(faces, tmp_path, count):
    points = np.concatenate([mesh(faces[1]), np.zeros((N, 478, 1))], 2)[:, :count]
    head = ["FaceScore", *(f"{axis}_{k}" for k in range(count) for axis in "xyz"), "AU01", "AU12", "input", "frame"]
    rows = [[0.9, *points[k].ravel(), 1, 0, f"{k}.png", k] for k in range(N)]
    for k in range(N):
        write_image(tmp_path / f"{k}.png", faces[0][k])
    table = save(tmp_path / "a.csv", [head, *rows])
    if count == 106:
        with pytest.raises(DataError, match="x_0 … x_105 are 106 landmarks, which nobody here knows"):
            prepare(tmp_path, table)
        return
    folder = prepare(tmp_path, table)[0]
    assert_faces_of(folder, faces, most=1)
    np.testing.assert_allclose(folder.landmarks[0], align_face(faces[0][0], faces[1][0], 64)[1], atol=0.02)
    assert max(MESH_49) < 468


def test_thresholds_that_nothing_reaches(faces, tmp_path, capsys):
    rows = libreface(faces[1])
    for row in rows[1:]:
        row[7:11] = [0.2, 0.97, 0, 0.5]
    write_video(tmp_path / "a.avi", faces[0], 25)
    table = save(tmp_path / "a.csv", rows)
    folder, said = prepare(tmp_path, table, threshold=2)
    assert not (folder.labels == 1).any()
    assert "no AU is ever shown: the highest value is 0.97, below the threshold of 2" in said
    for threshold in ("0", "5.5"):
        assert main(["prepare", "table", str(table), str(tmp_path / "o"), "--threshold", threshold, "--quiet"]) == 2
        assert "LibreFace's AUs go from 0 to 5" in capsys.readouterr().err
