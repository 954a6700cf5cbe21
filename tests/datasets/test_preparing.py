"""The shared way into a prepared folder: totals add up, workers and interruptions change no byte, disks may fail."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from preparations import QUIET, skipped

from lorral_lite.datasets import preparing
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.preparing import Frames, Sequence, Skip, align_files, prepare_sequences
from lorral_lite.datasets.stand_in import write_video
from lorral_lite.datasets.videos import Video
from lorral_lite.files import DataError

AUS = (1, 12)
META = {"source": "test", "licensed": True}
FACE = np.stack([np.linspace(10, 50, 49), np.linspace(15, 45, 49)], 1).astype(np.float32)
FACE[19:25], FACE[25:31], FACE[31], FACE[37] = (20, 20), (44, 22), (24, 48), (42, 50)

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def make_source(root: Path, sequences: int = 3, frames: int = 10, skips: int = 1):
    """Pictures of noise below ``root`` and the sequences that read them; the last ``skips`` rows have no labels.

    Every seventh frame has filled-in landmarks.
    """
    rng = np.random.default_rng(7)
    found = []
    for s in range(sequences):
        paths = []
        for k in range(frames):
            paths.append(root / f"S{s}" / f"{k}.jpg")
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            if not paths[-1].exists():
                Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(paths[-1], quality=90)

        def load(s=s, paths=paths):
            moved = np.stack([FACE + np.float32((0.1 * k, s)) for k in range(frames)])
            labels = np.arange(2 * frames, dtype=np.int8).reshape(frames, 2) % 3 - 1
            lost = [Skip(root / "labels.csv", 100 * s + k, "nothing in it") for k in range(skips)]
            return Frames(np.arange(frames) + 1, paths, moved, labels, lost, np.arange(frames) % 7 == 6)

        found.append(Sequence(f"S{s}", "T1", frames + skips, load))
    return found


def prepare(tmp_path, out="out", sequences=None, **options):
    return prepare_sequences(tmp_path / out, tmp_path, sequences or make_source(tmp_path), 48, AUS, META,
                             **{**QUIET, **options})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_row_is_written_or_listed(tmp_path):
    source = make_source(tmp_path)
    (tmp_path / "S1" / "3.jpg").unlink()
    whole = (tmp_path / "S1" / "4.jpg").read_bytes()
    (tmp_path / "S1" / "4.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "S2" / "0.jpg").write_bytes(b"")
    (tmp_path / "S2" / "1.jpg").write_bytes(b"no picture at all")
    (tmp_path / "S2" / "2.jpg").unlink()
    (tmp_path / "S2" / "2.jpg").symlink_to(tmp_path / "S2" / "2.jpg")
    folder = prepare(tmp_path, sequences=source)
    reasons = {(file, row): reason for file, row, reason in skipped(folder)}
    assert len(folder) + len(reasons) == sum(s.rows for s in source) == 33
    assert folder.meta["skipped"] == 8
    assert reasons["labels.csv", "0"] == "nothing in it"
    assert reasons["S1/3.jpg", "4"] == "no such picture"
    assert "truncated" in reasons["S1/4.jpg", "5"]
    assert "empty file" in reasons["S2/0.jpg", "1"]
    assert "unknown format" in reasons["S2/1.jpg", "2"]
    assert "not readable" in reasons["S2/2.jpg", "3"]
    assert folder.frames[folder.subjects == "S1"].tolist() == [1, 2, 3, 6, 7, 8, 9, 10]
    open_prepared(folder.path, check=True)


def test_landmarks_that_miss_the_picture_are_no_face(tmp_path):
    source = make_source(tmp_path, sequences=1, skips=0)

    def load(inner=source[0].load):
        read = inner()
        read.landmarks[2] += 100
        read.landmarks[3] = 0
        read.landmarks[4] = np.nan
        return read

    folder = prepare(tmp_path, sequences=[Sequence("S0", "T1", 10, load)])
    lines = skipped(folder)
    assert [line[:2] for line in lines] == [("S0/2.jpg", "3"), ("S0/3.jpg", "4"), ("S0/4.jpg", "5")]
    assert "outside the picture of 64 × 64" in lines[0][2]
    assert "eye centres coincide" in lines[1][2]


def test_strict_stops_at_the_first_and_choices_do_not_stop_it(tmp_path):
    source = make_source(tmp_path)
    with pytest.raises(DataError, match=r"^labels\.csv, row 0: nothing in it \(--strict stops here\)$"):
        prepare(tmp_path, sequences=source, strict=True)
    assert not (tmp_path / "out").exists()

    def chosen(load):
        def inner():
            read = load()
            read.skips = [skip._replace(chosen=True) for skip in read.skips]
            return read
        return inner

    source = [Sequence(s.subject, s.task, s.rows, chosen(s.load)) for s in source]
    assert len(prepare(tmp_path, sequences=source, strict=True)) == 30


def test_a_source_that_loses_rows_is_refused(tmp_path):
    source = make_source(tmp_path)
    source[1] = Sequence("S1", "T1", 12, source[1].load)
    with pytest.raises(DataError, match="S1 T1: 12 rows were found, but 10 frames and 1 skipped"):
        prepare(tmp_path, sequences=source)


def test_nothing_usable_says_the_first_reason_and_leaves_nothing(tmp_path):
    source = make_source(tmp_path, sequences=1)
    for path in (tmp_path / "S0").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"there are no frames to write; the first one left out is labels\.csv 0: noth"):
        prepare(tmp_path, sequences=source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["S0"]


def test_processes_change_no_byte(tmp_path, monkeypatch):
    source = make_source(tmp_path, sequences=2, frames=40)
    alone = contents(prepare(tmp_path, "one", sequences=source, workers=1).path)
    monkeypatch.setattr(preparing, "CHUNK", 3)  # another cut, and enough pieces for two processes
    two = prepare(tmp_path, "two", sequences=source, workers=2)
    assert contents(two.path) == alone


def test_a_disk_that_is_too_small_is_noticed_first(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda path: SimpleNamespace(free=9))
    with pytest.raises(DataError, match="free some space or choose another folder"):
        prepare(tmp_path)


JOB = """
import os, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_preparing as t
from lorral_lite.files import DataError
from lorral_lite.datasets import preparing, writing
preparing.CHUNK, preparing.CHECKPOINT_SECONDS = 4, 0.0

{change}

if __name__ == "__main__":
    root = Path({root!r})
    try:
        t.prepare(root, sequences=t.make_source(root, 3, 30), workers={workers})
    except DataError as error:
        print(error)
"""

KILLED_AT_CHECKPOINT = """
calls, real = [], writing.PreparedWriter.checkpoint
def checkpoint(self, state):
    calls.append(state)
    if len(calls) == {n} and {before}:
        os.kill(os.getpid(), 9)
    real(self, state)
    if len(calls) == {n}:
        os.kill(os.getpid(), 9)
writing.PreparedWriter.checkpoint = checkpoint
"""

KILLED_WHILE_WRITING = """
calls, real = [], writing.PreparedWriter._lines
def lines(self, name, rows):
    calls.append(name)
    if len(calls) == 6:
        for file in self.files.values():
            file.flush()
        os.kill(os.getpid(), 9)
    real(self, name, rows)
writing.PreparedWriter._lines = lines
"""

KILLED_WHILE_HASHING = """
writing.checksum = lambda path: os.kill(os.getpid(), 9)
"""

KILLED_BEFORE_THE_END = """
real = os.replace
def replace(source, target):
    if str(target).endswith("out"):
        os.kill(os.getpid(), 9)
    real(source, target)
os.replace = replace
"""


def job(root: Path, change: str = "", workers: int = 1) -> subprocess.CompletedProcess:
    """Run the preparation, changed so that it dies somewhere, in a process of its own."""
    script = root / "job.py"
    script.write_text(JOB.format(here=str(Path(__file__).parent), root=str(root), workers=workers, change=change))
    return subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)


@POSIX
def test_kill_9_anywhere_then_the_same_call_gives_the_same_bytes(tmp_path):
    expected = contents(prepare(tmp_path, "whole", sequences=make_source(tmp_path, 3, 30)).path)
    source = make_source(tmp_path, 3, 30)
    deaths = [KILLED_AT_CHECKPOINT.format(n=2, before=True), KILLED_AT_CHECKPOINT.format(n=7, before=False),
              KILLED_WHILE_WRITING, KILLED_WHILE_HASHING, KILLED_BEFORE_THE_END]
    for death in deaths:
        ended = job(tmp_path, death)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert not (tmp_path / "out").exists()
        assert (tmp_path / ".out.partial").is_dir()
    said = []
    folder = prepare(tmp_path, sequences=source, say=said.append)
    assert "are done; going on" in said[0]
    assert contents(folder.path) == expected
    assert folder.meta["filled_landmarks"] == [k for k in range(90) if k % 30 % 7 == 6]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")]


@POSIX
def test_a_beginning_that_is_shorter_than_its_journal_is_refused(tmp_path):
    job(tmp_path, KILLED_AT_CHECKPOINT.format(n=2, before=False))
    short = tmp_path / ".out.partial" / "labels.npy"
    short.write_bytes(short.read_bytes()[:100])
    with pytest.raises(DataError, match=r"labels\.npy: shorter than its journal says; remove .*\.out\.partial"):
        prepare(tmp_path, sequences=make_source(tmp_path, 3, 30))


@POSIX
def test_a_journal_that_is_not_the_one_written_is_refused(tmp_path):
    job(tmp_path, KILLED_AT_CHECKPOINT.format(n=2, before=False))
    journal = tmp_path / ".out.partial" / "journal.json"
    there = json.loads(journal.read_text())
    journal.write_text(json.dumps({**there, "state": [there["state"][0], there["state"][1] + 1, *there["state"][2:]]}))
    with pytest.raises(DataError, match=r"journal\.json: not what was written there; remove .*\.out\.partial"):
        prepare(tmp_path, sequences=make_source(tmp_path, 3, 30))


@POSIX
@pytest.mark.parametrize("change", ["labels", "picture"])
def test_a_source_that_changed_since_the_kill_is_refused_and_nothing_mixed(tmp_path, change):
    job(tmp_path, KILLED_AT_CHECKPOINT.format(n=7, before=False))
    source = make_source(tmp_path, 3, 30)
    if change == "picture":
        os.utime(source[0].load().images[3], ns=(1, 1))
    else:
        first, frames = source[0], source[0].load()
        source[0] = dataclasses.replace(first, load=lambda: dataclasses.replace(frames, labels=1 - frames.labels))
    before = contents(tmp_path / ".out.partial")
    with pytest.raises(DataError, match=r"out: the labels, landmarks or pictures of .* are not those that this prep"):
        prepare(tmp_path, sequences=source)
    assert contents(tmp_path / ".out.partial") == before


@POSIX
def test_a_full_disk_is_one_line_and_the_same_call_goes_on(tmp_path):
    expected = contents(prepare(tmp_path, "whole", sequences=make_source(tmp_path, 3, 30)).path)
    ended = job(tmp_path, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))")
    assert ended.returncode == 0, ended.stderr
    assert "out: cannot be written (File too large)" in ended.stdout
    assert "free some space and repeat the command" in ended.stdout
    assert ended.stdout.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert contents(prepare(tmp_path, sequences=make_source(tmp_path, 3, 30)).path) == expected


@POSIX
def test_workers_end_with_a_killed_parent_and_the_same_call_gives_the_same_bytes(tmp_path):
    expected = contents(prepare(tmp_path, "whole", sequences=make_source(tmp_path, 3, 30)).path)
    ended = job(tmp_path, KILLED_AT_CHECKPOINT.format(n=3, before=False), workers=2)
    assert ended.returncode == -signal.SIGKILL  # and run() saw the end of stdout, which every child holds open
    said = []
    folder = prepare(tmp_path, sequences=make_source(tmp_path, 3, 30), workers=2, say=said.append)
    assert "are done; going on" in said[0]
    assert contents(folder.path) == expected


def test_other_options_do_not_continue_the_beginning(tmp_path, monkeypatch):
    source = make_source(tmp_path)
    monkeypatch.setattr(preparing, "CHECKPOINT_SECONDS", 0.0)
    source[0] = Sequence("S0", "T1", 10, make_source(tmp_path, skips=0)[0].load)
    with pytest.raises(DataError, match="strict"):
        prepare(tmp_path, sequences=source, strict=True)
    with pytest.raises(DataError, match=r"beginning of another preparation is there.*remove that folder"):
        prepare(tmp_path, sequences=source, fast_decode=True)
    with pytest.raises(DataError, match="beginning of another preparation"):
        prepare(tmp_path, sequences=source[:2])
    assert len(prepare(tmp_path, sequences=source)) == 30


def test_a_target_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        prepare(tmp_path, "file/out")


def test_fast_decode_keeps_landmarks_and_nearly_the_pixels(tmp_path):
    y, x = np.mgrid[:480, :480]
    picture = np.stack([x // 2, y // 2, (x + y) // 4], -1).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "large.jpg", quality=95)
    points = FACE * 7
    (slow, points_slow), = align_files([tmp_path / "large.jpg"], points[None], 48)
    (fast, points_fast), = align_files([tmp_path / "large.jpg"], points[None], 48, fast=True)
    np.testing.assert_allclose(points_fast, points_slow, atol=1e-3)
    inside = (slow != 128).any(-1) & (fast != 128).any(-1)
    assert np.abs(slow.astype(int) - fast)[inside].mean() < 1.5  # half a pixel of shift would be 3 and more
    assert (slow != fast).any()


def test_frames_of_a_video(tmp_path):
    pytest.importorskip("av")
    write_video(tmp_path / "v.avi", [np.full((64, 64, 3), 20 * k, np.uint8) for k in range(12)], 20)
    video = Video(tmp_path / "v.avi", [1, 4, 5, 11, 12, 13])
    read = [*video.read(slice(0, 2)), *video.read(slice(2, 6))]
    assert [round(float(picture.mean()) / 20) for picture in read[:4]] == [1, 4, 5, 11]
    assert read[4:] == ["the video ends after 12 frames"] * 2
    assert round(float(video.read(slice(0, 1))[0].mean()) / 20) == 1  # back to the start
    (tmp_path / "broken.avi").write_bytes((tmp_path / "v.avi").read_bytes()[:40])
    (reason,) = Video(tmp_path / "broken.avi", [0]).read(slice(0, 1))
    assert "cannot be decoded after 0 frames" in reason
    with pytest.raises(ValueError, match="ascending"):
        Video(tmp_path / "v.avi", [3, 3])


def test_without_pyav_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match="pip install av"):
        Video(tmp_path / "v.avi", [0]).read(slice(0, 1))
