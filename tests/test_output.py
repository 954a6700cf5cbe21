"""Output goes anywhere: bars into files, characters that an output does not have, readers that go away."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lorral_lite import cli, output
from lorral_lite.output import EVERY, Lines, forgive_characters, progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved, for every bar."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: now.seconds)
    return now


def test_a_bar_in_a_file_is_a_line_now_and_then(clock):
    file = io.StringIO()
    with Lines(total=6000, desc="step 1", unit="batch", file=file) as bar:
        for k in range(6000):
            clock.seconds += 0.02  # two minutes in all
            bar.update()
            if k % 100 == 0:
                bar.set_postfix(loss=f"{k}")
    lines = file.getvalue().splitlines()
    assert len(lines) == 3 + 1  # after 30, 60 and 90 seconds, and at the end
    assert all(line.startswith("step 1: ") and "loss=" in line for line in lines)
    assert " 6000/6000 " in lines[-1]
    assert "\r" not in file.getvalue()


@pytest.mark.parametrize("leave", [True, False])
def test_what_is_soon_done_writes_nothing(clock, leave):
    file = io.StringIO()
    for _ in Lines(range(1000), desc="evaluating", leave=leave, file=file):
        clock.seconds += 0.9 * EVERY / 1000
    assert file.getvalue() == ""


def test_a_bar_that_fails_half_way_says_where(clock):
    file = io.StringIO()

    def work():
        for k in Lines(range(100), file=file):
            clock.seconds += 1
            if k == 70:
                raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert [line.split("%")[0].strip() for line in file.getvalue().splitlines()] == ["30", "60", "70"]


def test_a_terminal_has_a_bar_that_moves_and_a_file_lines(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert type(progress_bar(disable=True)) is Lines
    terminal.isatty = lambda: True
    assert type(progress_bar(disable=True)) is output.tqdm is not Lines


def test_a_notebook_has_its_own_bar(monkeypatch):
    from tqdm.notebook import tqdm_notebook

    monkeypatch.setattr(output, "tqdm", tqdm_notebook)
    assert isinstance(progress_bar(disable=True), tqdm_notebook)


def test_no_bar_without_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert type(progress_bar(disable=True)) is Lines


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "latin-1"])
def test_characters_that_an_output_lacks_are_replaced(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with pytest.raises(UnicodeEncodeError):
        print("P001 – 64.0 ± 4 \u00df 😀")
    forgive_characters()
    print("P001 – 64.0 ± 4 \u00df 😀")
    sys.stdout.flush()
    text = raw.getvalue().decode(encoding)
    assert "P001" in text
    assert "64.0" in text
    assert "?" in text


def lorral(words: str, **environment) -> subprocess.CompletedProcess:
    """Run a line of bash in which ``lorral`` is the command; the last line of its output is lorral's exit code."""
    call = f"{sys.executable} -c 'import sys; from lorral_lite.cli import main; sys.exit(main())'"
    script = f"lorral() {{ {call} \"$@\"; }}; {words}; echo ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize(("words", "buffer"), [
    ("--help", ""), ("prepare bp4d ROOT --check", ""), ("prepare bp4d ROOT --check", "1"),
])  # fmt: skip
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path, words, buffer):
    from lorral_lite.datasets.stand_in import write_bp4d

    if "ROOT" in words:
        write_bp4d(tmp_path / "BP4D", frames=2)
        words = words.replace("ROOT", str(tmp_path / "BP4D"))
    # the reader ends before anything is written: what lorral prints then meets a closed pipe, however short it is
    done = lorral(f"(sleep 0.5; lorral {words}) | true", PYTHONUNBUFFERED=buffer)
    assert done.stderr == ""
    assert done.stdout == f"{cli.READER_GONE}\n"


def test_help_is_whole_where_somebody_reads_it():
    done = lorral("lorral --help | head -1", PYTHONIOENCODING="ascii")
    assert done.stdout.startswith("usage: lorral")
    assert done.stderr == ""


def test_another_broken_pipe_is_still_an_error(monkeypatch, capsys):
    """One that is not of our output, such as that of a decoder which died, is said."""
    def broken(args):
        raise BrokenPipeError(32, "Broken pipe", "ffmpeg")

    monkeypatch.setattr(cli, "_report", broken)
    assert cli.main(["report", "x"]) == 2
    assert "Broken pipe" in capsys.readouterr().err


def test_the_command_sets_the_waiting_policy_before_torch_is_imported():
    code = ("import os, sys; from lorral_lite import cli; "
            "assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])")
    for before, after in (({}, "PASSIVE\n"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE\n")):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | before
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout == after, done.stderr
