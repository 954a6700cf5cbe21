"""The first cell behind a notebook's parameters: whatever papermill injected is checked before anything is computed.

    check_parameters(globals(), seed=(0, None), device=("auto", "cpu", "cuda"), run="folder")

papermill only warns about a name that the notebook does not have, and passes on any value: ``1e-4`` from YAML is text.
"""

import ast
from pathlib import Path

from ..files import DataError

KINDS = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}


class ParameterError(DataError):
    """A parameter that the notebook does not have or cannot take. In a notebook it is shown as one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"ParameterError: {self}"]


def injected(cells) -> list[str]:
    """Names that papermill's own cell assigns, among the ``cells`` (sources) that a kernel has run."""
    found = []
    for source in cells:
        if source.startswith("# Parameters\n"):
            found += [target.id for line in ast.parse(source).body if isinstance(line, ast.Assign)
                      for target in line.targets if isinstance(target, ast.Name)]
    return found


def check_parameters(namespace: dict, **allowed) -> None:
    """Refuse unknown names and values out of range: ParameterError, one line with name, value and what to choose.

    ``namespace`` is the notebook's ``globals()``. Each parameter is named in ``allowed``: a number with its (lowest,
    highest), where a highest of None means no end; a text with its choices, with "folder" or "file" (empty, or
    one that exists) or with None (any text); a bool with None. Its type is the one that the parameters cell declares.
    """
    for name in injected(namespace.get("In", ())):
        if name not in allowed:
            raise ParameterError(f"{name}: no such parameter; this notebook has {', '.join(allowed)}")
    for name, limits in allowed.items():
        kind, value = namespace["__annotations__"][name], namespace[name]
        wanted = _wanted(kind, limits)
        if not _fits(value, kind, limits):
            path = limits in ("folder", "file") and isinstance(value, str) and not Path(value).is_absolute()
            seen = f" (its path is seen from {Path.cwd()})" if path else ""
            raise ParameterError(f"{name} = {value!r}: give {wanted}{seen}")


def _wanted(kind: type, limits) -> str:
    """What to choose, in words."""
    if limits is None:
        return KINDS[kind]
    if limits in ("folder", "file"):
        return f"a {limits} that exists, or nothing"
    if kind is str:
        return f"one of {', '.join(limits)}"
    low, high = limits
    return f"{KINDS[kind]} from {low} " + ("on" if high is None else f"to {high}")


def _fits(value, kind: type, limits) -> bool:
    types = (int, float) if kind is float else (kind,)
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        return False
    if limits is None:
        return True
    if limits in ("folder", "file"):
        return not value or (Path(value).is_dir() if limits == "folder" else Path(value).is_file())
    if kind is str:
        return value in limits
    low, high = limits
    return low <= value and (high is None or value <= high)
