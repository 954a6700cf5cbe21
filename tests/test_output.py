"""Output goes anywhere: bars into files, characters that an output does not have, readers that go away."""

import io
import os
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from lorral_lite import cli, output
from lorral_lite.output import EVERY, Lines, forgive_characters, plain, progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved, for every bar."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: now.seconds)
    return now


@pytest.mark.parametrize(("steps", "seconds", "broken", "percent"), [
    (1000, 0.9 * EVERY / 1000, None, []),  # soon done: nothing
    (6000, 0.02, None, ["25", "50", "75", "100"]),  # after 30, 60 and 90 seconds, and at the end
    (2, EVERY + 1, None, ["50", "100"]),  # the end only once
    (100, 1, 70, ["30", "60", "70"]),  # where it failed
])
def test_a_bar_in_a_file_is_a_line_now_and_then(clock, steps, seconds, broken, percent):
    file = io.StringIO()

    def work():
        for k in (bar := Lines(range(steps), desc="step 1", file=file)):
            clock.seconds += seconds
            bar.set_postfix(loss=f"{k}", refresh=False)
            if k == broken:
                raise ValueError("broken")

    with nullcontext() if broken is None else pytest.raises(ValueError, match="broken"):
        work()
    lines = file.getvalue().splitlines()
    assert [line.removeprefix("step 1: ").split("%")[0].strip() for line in lines] == percent
    assert all("loss=" in line for line in lines)
    assert "\r" not in file.getvalue()


def test_a_terminal_has_a_bar_that_moves_and_a_file_or_nothing_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert type(progress_bar(disable=True)) is Lines
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert type(progress_bar(disable=True)) is Lines
    terminal.isatty = lambda: True
    assert type(progress_bar(disable=True)) is output.tqdm is not Lines


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
def test_characters_that_an_output_lacks_are_replaced(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with pytest.raises(UnicodeEncodeError):
        print("P001 – 64.0 ± 4 \u00df 😀")
    forgive_characters()
    print("P001 – 64.0 ± 4 \u00df 😀")
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding).endswith(" 4 ? ?\n")


@pytest.mark.parametrize(("text", "shown"), [
    ("José 東京 😀.jpg", "José 東京 😀.jpg"),
    ("a\nb\tc  d", "a\\nb\\tc  d"), ("\x1b[2J", "\\x1b[2J"), ("a\0b", "a\\x00b"),
    ("gpj.\u202eexe", "gpj.\\u202eexe"), ("\udcff", "\\udcff"), ("no\u00a0break", "no\u00a0break"),
])  # fmt: skip
def test_text_from_outside_is_one_line_that_no_terminal_obeys(text, shown):
    assert plain(text) == shown


def in_a_pipe(script: str, pipe: str, **environment) -> tuple[list[str], str]:
    """Lines of output and of errors of ``python -c script | pipe``; the last line of output is Python's exit code."""
    line = f'"$0" -c "$1" {pipe}; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", line, sys.executable, script], capture_output=True, text=True,
                          env=os.environ | {"PYTHONUNBUFFERED": ""} | environment)
    return done.stdout.splitlines(), done.stderr


TALK = """
import sys
from lorral_lite import cli

def talk(**options):
    for number in range({lines}):
        print(number, file=sys.{stream})

cli._report = talk
sys.exit(cli.main({words}))
"""


@pytest.mark.parametrize(("stream", "pipe", "buffer"), [
    ("stdout", "| head -1", ""), ("stdout", "| head -1", "1"), ("stderr", "2>&1 | head -1", ""),
])  # fmt: skip
def test_a_reader_that_goes_away_ends_it_quietly(stream, pipe, buffer):
    talk = TALK.format(lines=100_000, stream=stream, words=["report", "x"])
    assert in_a_pipe(talk, pipe, PYTHONUNBUFFERED=buffer) == (["0", str(cli.READER_GONE)], "")


def test_a_reader_that_goes_away_before_the_end_is_written_ends_it_quietly_and_one_that_stays_gets_all():
    """What waits in a buffer is written when Python ends, where nothing can be caught any more."""
    talk = TALK.format(lines=3, stream="stdout", words=["report", "x"])
    assert in_a_pipe(f"import time; time.sleep(0.5)\n{talk}", "| true") == ([str(cli.READER_GONE)], "")
    stays = TALK.format(lines=20_000, stream="stdout", words=["report", "x"])
    assert in_a_pipe(stays, "| tail -1") == (["19999", "0"], "")


def test_a_grid_whose_reader_has_gone_ends_and_its_cell_has_not_failed(tmp_path):
    script = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
from lorral_lite import cli
from lorral_lite.reproduce import cell as grid

def talk(plan, cell, device, progress, say):
    for number in range(100_000):
        say(number)

grid.run_cell = talk
plan = SimpleNamespace(run=lambda cell: Path({str(tmp_path)!r}))
cli._report = lambda **options: print(grid.attempt(plan, grid.Cell(1, 0)))
sys.exit(cli.main(["report", "x"]))
"""
    assert in_a_pipe(script, "| head -1") == (["0", str(cli.READER_GONE)], "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_an_output_that_was_closed_from_the_start_harms_nothing(closed):
    script = "import sys; from lorral_lite import cli; cli._report = lambda **_: 0; sys.exit(cli.main(['report', 'x']))"
    assert in_a_pipe(script, closed) == (["0"], "")
    assert in_a_pipe(script.replace("'x'", "'--nothing'"), closed)[0] == ["2"]


def test_an_error_is_said_though_nobody_reads_the_output():
    """A wrong file keeps its line and exit code 2."""
    script = ("import sys, time; from lorral_lite import cli; time.sleep(0.5)\n"
              "def wrong(**options):\n    print(1, 2, 3)\n    raise ValueError('this one')\n"
              "cli._report = wrong; sys.exit(cli.main(['report', 'x']))")
    assert in_a_pipe(script, "| true") == (["2"], "lorral: this one\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_an_output_on_a_full_disk_is_one_line():
    talk = TALK.format(lines=3, stream="stdout", words=["report", "x"])
    assert in_a_pipe(talk, "> /dev/full") == (
        ["2"], "lorral: standard output cannot be written (No space left on device); free some space there\n")
    wrong = "import sys; from lorral_lite import cli; sys.exit(cli.main(['report', 'nothing here']))"
    assert in_a_pipe(wrong, "2> /dev/full") == (["2"], "")


def test_another_broken_pipe_is_still_an_error(monkeypatch, capsys):
    """One that is not of our output, such as that of a decoder which died, is said."""
    def broken(**options):
        raise BrokenPipeError(32, "Broken pipe", "ffmpeg")

    monkeypatch.setattr(cli, "_report", broken)
    assert cli.main(["report", "x"]) == 2
    assert "Broken pipe" in capsys.readouterr().err


def test_a_plain_line_shows_every_character_and_keeps_what_is_seen(capsys):
    seen = "José 中文 a-b_$<=\u00a0😀 \u0645\u06cc\u200c\u062e"
    assert plain(seen) == seen
    assert plain("a\x1b[2J\n\u202eb\u200b\udcff\x00") == r"a\x1b[2J\n\u202eb\u200b\udcff\x00"
    assert cli.main(["report", "no\x1b[31mrun"]) == 2
    assert capsys.readouterr().err.startswith(r"lorral: no\x1b[31mrun: no such run folder")
