"""Benchmarks: ``python -m benchmarks NAME`` measures, prints its tables, and keeps them with ``--out FILE.json``.

A benchmark is one file of this folder, named in :data:`BENCHMARKS`, with a function ``measure(device, tiny)`` that
yields each :class:`Table` as soon as it is measured. ``tiny`` asks for the smallest setting that runs every line, for
tests; its numbers say nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path

BENCHMARKS = {
    "layers": "PatchConv, AUCrops and the Hopfield layer against the loops they replace",
    "model": "time, FLOPs and memory of inference and training steps, paper() and lite()",
    "step2": "an epoch of step 2 on cached features against one of step 1; --compare RUN: both ways of step 2",
    "faces": "procedural faces a second, and where the time goes",
    "difficulty": "F1 on unseen people for easy, default and hard faces (about 20 minutes)",
    "coverage": "how often 95 % intervals hold the true F1 on 1,000 simulated data sets (about 3 minutes)",
    "deviations": "F1 with one choice of DEVIATIONS.md made otherwise; --keep FOLDER goes on there (about 25 minutes)",
    "photo": "where the limits come from below which a photograph's landmarks are plausible (about a minute)",
    "threads": "a training step with one CPU thread and with all, alone and beside busy programs",
}
"""Name → what it measures."""


@dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, and their first and third quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Goal:
    """A value beside what it should reach: at most ``limit``, or at least when ``at_least``."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Table:
    """``columns`` names, ``rows`` of text, numbers, :class:`Spread` or None (not measured); ``note`` says how."""

    title: str
    columns: list[str]
    rows: list[list]
    note: str = ""
    goals: list[Goal] = field(default_factory=list)

    def __str__(self) -> str:
        cells = [self.columns, *[[text(cell) for cell in row] for row in self.rows]]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        goals = [f"goal {g.what} {'≥' if g.at_least else '≤'} {g.limit:g}: {text(g.value)}, "
                 f"{'met' if g.met else 'missed'}" for g in self.goals]
        return "\n".join([f"### {self.title}", "", *lines, *(["", self.note] if self.note else []),
                          *(["", *[f"- {line}" for line in goals]] if goals else [])])


def text(cell) -> str:
    """A cell as a reader sees it: three figures, a spread as median (low–high), – when not measured."""
    if cell is None:
        return "–"
    if isinstance(cell, Spread):
        return f"{text(cell.median)} ({text(cell.low)}–{text(cell.high)})"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def bench(name: str, out=None, device=None, tiny: bool = False, say=print, **options) -> dict:
    """Run a benchmark, ``say`` each table when it is there, write all as JSON to ``out``; returns what it wrote.

    ``options`` go to its ``measure``.
    """
    from lorral_lite.device import pick_device

    from .timing import environment

    if out is not None and Path(out).is_dir():
        raise ValueError(f"{out}: is a folder; --out names a file")
    device = pick_device(device)
    where = environment(device)
    say("; ".join(f"{key} {value}" for key, value in where.items()))
    tables: list[Table] = []
    measured: Iterable[Table] = import_module(f".{name}", __name__).measure(device, tiny, **options)
    for table in measured:
        tables.append(table)
        say(f"\n{table}")
    result = {
        "command": " ".join(["python -m benchmarks", name, *(["--tiny"] if tiny else []),
                             *[f"--{key} {value}" for key, value in options.items()]]), "environment": where,
        "tables": [{**asdict(t), "goals": [{**asdict(g), "met": g.met} for g in t.goals]} for t in tables],
    }
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
    return result


MARK = "<!-- everything below is written by `make benchmarks` from the JSON files beside this one -->\n"


def tables_page(folder) -> str:
    """Every benchmark kept in ``folder`` as Markdown: its command, where it ran, its tables as they were printed."""
    page = []
    files = [(file, what) for name, what in BENCHMARKS.items() for file in sorted(Path(folder).glob(f"{name}*.json"))]
    for file, summary in files:
        kept = json.loads(file.read_text(encoding="utf8"))
        where = "; ".join(f"{key} {value}" for key, value in kept["environment"].items())
        page.append(f"\n## `{kept['command']}`\n\n{summary[0].upper()}{summary[1:]}. Measured on: {where}.\n")
        for table in kept["tables"]:
            rows = [[Spread(**cell) if isinstance(cell, dict) else cell for cell in row] for row in table["rows"]]
            goals = [Goal(**{key: goal[key] for key in ("what", "value", "limit", "at_least")})
                     for goal in table["goals"]]
            page.append(f"\n{Table(table['title'], table['columns'], rows, table['note'], goals)}\n")
    return "".join(page)


def write_page(folder) -> None:
    """Put the tables of the JSON files in ``folder`` below the mark in its README.md."""
    readme = Path(folder) / "README.md"
    head = readme.read_text(encoding="utf8").split(MARK)[0]
    readme.write_text(head + MARK + tables_page(folder), encoding="utf8")
