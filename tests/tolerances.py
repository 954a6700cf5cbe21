"""The tolerances of stored figures that are wider than two units of the last digit, and what a test run says of all."""

import math

from lorral_lite.report.tolerance import Absorbed, Wider

WIDER = [
    Wider("12_your_own_faces", "c55", r"\d+\.\d(?= \()", 5,
          "one of 40 faces whose landmarks lie at the limit of what is plausible moves a share by 2.5; two of them"),
    Wider("12_your_own_faces", "c55", r"(?<=\()\d+\.\d(?= to)|(?<=to )\d+\.\d(?=\))", 9,
          "as above: from 95.0 (83.5 to 98.6) it is two faces to 100.0 (91.2 to 100.0)"),
    Wider("12_your_own_faces", "c56", r"\d+(?= %)", 5, "as c55"),
    Wider("12_your_own_faces", "c56", r"(?<=\()\d+(?= to)|(?<=to )\d+(?=\))", 9, "as c55"),
    Wider("12_your_own_faces", "c56", r"\d+(?= of \d+ people| more often)", 2, "as c55: people whose share moves"),
]
"""At most 15 cells; all else is compared as lorral_lite/report/tolerance.py says."""


def wider_of(notebook: str, cell: str) -> list[Wider]:
    """The rows of :data:`WIDER` for a cell."""
    return [row for row in WIDER if (row.notebook, row.cell) == (notebook, cell)]


def same_json(found, stored, relative: float = 1e-9) -> bool:
    """Whether two JSON values agree: floats as numbers, all else strictly."""
    if isinstance(stored, dict) and isinstance(found, dict):
        return found.keys() == stored.keys() and all(same_json(found[key], stored[key], relative) for key in stored)
    if isinstance(stored, list | tuple) and isinstance(found, list | tuple):
        return len(found) == len(stored) and all(same_json(*pair, relative) for pair in zip(found, stored, strict=True))
    if isinstance(stored, float) and isinstance(found, float):
        return math.isclose(found, stored, rel_tol=relative, abs_tol=relative)
    return type(found) is type(stored) and found == stored


def pytest_terminal_summary(terminalreporter):
    """Say which stored figures came out otherwise, and how much of its tolerance each used: what tests have recorded as
    their property "absorbed", a list of :class:`Absorbed`."""
    lines = []
    if getattr(terminalreporter, "has_said_what_was_absorbed", False):
        return  # the notebooks' conftest and the tests' both have this hook
    terminalreporter.has_said_what_was_absorbed = True
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for absorbed in (value for name, value in report.user_properties if name == "absorbed"):
            if report.when == "call":
                most = max((Absorbed(*one) for one in absorbed), key=lambda one: one.share)
                lines.append(f"{report.location[2]}: {len(absorbed)} figures, most {most.stored} → {most.fresh}, "
                             f"{100 * most.share:.0f} % of what is allowed")
    if lines:
        terminalreporter.section("figures that differ within their tolerance")
        terminalreporter.write_line("\n".join(lines))
