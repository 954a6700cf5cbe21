"""What must not stay behind: temporary folders of a process that ended, however it did, and paths of this machine."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lorral_lite import files
from lorral_lite.files import Scratch, strip_logs, without_paths

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and modes of POSIX")
KERNEL = """
import sys, time
from pathlib import Path
from lorral_lite.files import Scratch
work = Scratch()
Path(work.name, "face.png").write_bytes(b"a licensed face")
print(work.name, work._heir.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the system for this test alone, here and in processes that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def kernel(temporary):
    """A process with a face in a Scratch: (process, folder, the heir's number)."""
    process = subprocess.Popen([sys.executable, "-c", KERNEL], stdout=subprocess.PIPE, text=True)
    folder, heir = process.stdout.readline().split()
    yield process, Path(folder), int(heir)
    process.kill()
    process.wait()
    process.stdout.close()


def gone(folder: Path, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not folder.exists()


@POSIX
def test_a_killed_process_leaves_no_face(kernel):
    process, folder, _ = kernel
    assert (folder / "face.png").exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process.kill()
    assert gone(folder)


@POSIX
def test_what_is_left_when_both_are_killed_the_next_one_removes(kernel, temporary):
    process, folder, heir = kernel
    with Scratch() as other:
        assert folder.exists()  # its process lives
        os.kill(heir, signal.SIGKILL)
        process.kill()
        process.wait()
        time.sleep(0.5)
        assert folder.exists()
        (temporary / "lorral-of-somebody").mkdir()  # not one of ours: no lock in it
        with Scratch() as next_one:
            assert not folder.exists()
            assert sorted(temporary.iterdir()) == sorted(map(Path, (other, next_one, temporary / "lorral-of-somebody")))
    assert [path.name for path in temporary.iterdir()] == ["lorral-of-somebody"]


HERE = Path.cwd().as_posix()


@pytest.mark.skipif(os.name != "posix", reason="paths of POSIX")
@pytest.mark.parametrize(("text", "kept"), [
    ("lorral reproduce /mnt/alice/BP4D --out runs/x", "lorral reproduce …/BP4D --out runs/x"),
    (f"lorral reproduce --out {HERE}/runs/y", "lorral reproduce --out runs/y"),
    ("at /home/Alice S/My runs/x.npy", "at …/My runs/x.npy"),  # where a bare name with spaces ends cannot be known
    ("'/mnt/Bob B/a b/c.npy' \"/srv/d\"", "'…/c.npy' \"…/d\""),
    ('File "/home/Alice S/x.py", line 3', 'File "…/x.py", line 3'),
    ("\x1b[32m/home/bob/lib/x.py\x1b[39m:12", "\x1b[32m…/x.py\x1b[39m:12"),
    ("file:///home/bob/x.html, --out=/srv/bob/o, error:/a/b", "…/x.html, --out=…/o, error:…/b"),
    (r"C:\Users\bob\x.txt: gone", "…/x.txt: gone"),
    ('{"data": "/home/bob/p q/data"}', '{"data": "…/data"}'),
    ("/data/of/run/a.npy and /data/of/run/b", "a.npy and b"),
    *[(same, same) for same in ("https://a.b/c/d and/or 1/2/3 ~/x ../a/b ./c/d runs/faces", "a / b / c", "<i>a</i><b/>",
                                "Sequences(2D+3D)/F001/T1")],
])
def test_no_path_of_this_machine_is_kept(text, kept, monkeypatch):
    monkeypatch.setattr(files.Path, "home", lambda: Path("/home/Alice S"))
    assert without_paths(text, "/data/of/run") == kept


def test_logs_of_jobs_are_kept_without_paths_and_what_jobs_were_told_goes(tmp_path):
    jobs = tmp_path / "secret" / "jobs"
    jobs.mkdir(parents=True)
    for name in ("7_0_log.out", "7_0_log.err", "7_submitted.pkl", "7_submission.sh"):
        (jobs / name).write_text(f"loading {jobs / 'x.pkl'} of /mnt/secret/x: a line\n")
    strip_logs(jobs)
    assert sorted(path.name for path in jobs.iterdir()) == ["7_0_log.err", "7_0_log.out"]
    assert (jobs / "7_0_log.out").read_text() == "loading jobs/x.pkl of …/x: a line\n"
