"""The numbers that the paper prints, and what can be said of them without its data: audit, floors, inferred base."""

import csv
from decimal import ROUND_HALF_UP, Decimal

from ..facs import AU_SETS
from ..files import DataError, data_file

ROUNDING = Decimal("0.1")
"""How far a printed mean may lie from its row: half a unit of its own rounding and half of the entries' (D62)."""

FLOORS = {"bp4d": 48.05, "disfa": 18.66}
"""Mean F1 (%) of always saying yes on the frames of each data set, from the public label counts."""

STATED_GAINS = {"bp4d": 0.9, "disfa": 2.1}
"""Points that relations add, as section 4.3 states; the best of three variants."""

STATED_LEADS = {"bp4d": 1.1, "disfa": 2.7}
"""Points over the best earlier method, as section 4.2 states."""

INFERRED_BASE = {"bp4d": 62.6, "disfa": 59.3}
"""Mean F1 (%) of the paper's pipeline without relation: its section 4.3 gives gains of 0.9 and 2.1 only."""

VARIANTS = {"bilstm": "LoRRaL(B)", "self_attention": "LoRRaL(SA)", "hopfield": "LoRRaL(H)"}
"""Our name of a relation → the paper's row."""

TABLE_NUMBERS = {"bp4d": (1, 3), "disfa": (2, 4)}
"""Data set → the paper's table of results, and that of its ablation."""

OTHER_PAPERS = {"6.5": "spread of mean F1 over repeated threefold splits of BP4D+: Hinduja et al. 2026, "
                       "arXiv 2604.02162"}
"""Figures of other papers that our texts quote: the figure as written → what and whose it is."""


def published() -> list[dict]:
    """The rows of the paper's Tables 1 and 2 as printed: dataset, method, au, f1_percent, printed_average."""
    with open(data_file("published", "f1.csv"), newline="", encoding="utf8") as file:
        return [
            {"dataset": row["dataset"], "method": row["method"], "au": int(row["au"]),
             "f1_percent": float(row["f1_percent"]), "printed_average": float(row["printed_average"])}
            for row in csv.DictReader(file)
        ]


def audit_published() -> list[dict]:
    """Each published row's printed average against the mean of its own entries.

    → dicts with dataset, method, printed, recomputed (both %), difference (printed − recomputed),
    ``mismatch`` (True beyond what rounding explains, D62) and ``note``. Computed in decimals: 61.35 is 61.35.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in published():
        groups.setdefault((row["dataset"], row["method"]), []).append(row)
    audit = []
    for (dataset, method), rows in groups.items():
        printed = Decimal(str(rows[0]["printed_average"]))
        entries = {row["au"]: Decimal(str(row["f1_percent"])) for row in rows}
        if tuple(entries) != AU_SETS[dataset]:
            raise DataError(f"data/published/f1.csv: {method} on {dataset} does not list the AUs {AU_SETS[dataset]}")
        mean = sum(entries.values()) / len(entries)
        mismatch = abs(printed - mean) > ROUNDING
        note = f"the row's own mean is {rounded(mean, '0.01')}" if mismatch else ""
        if (dataset, method) == ("disfa", "EAC-Net"):
            other = (sum(entries.values()) - entries[9] + Decimal("8.5")) / len(entries)
            note += (f"; AU9 is printed as {entries[9]}: with 8.5 the mean is {rounded(other)}, next to the printed "
                     f"{printed}, so 80.5 is most likely a misprint, copied since")
        if (dataset, method) in (("bp4d", "LSVM"), ("bp4d", "DRML")):
            note += "; the mismatch is already in the source, the DRML paper"
        audit.append({"dataset": dataset, "method": method, "printed": float(printed), "recomputed": float(mean),
                      "difference": float(printed - mean), "mismatch": bool(mismatch), "note": note.lstrip("; ")})
    return audit


def rounded(value: Decimal, places: str = "0.1") -> Decimal:
    """Rounded half up, as people round."""
    return value.quantize(Decimal(places), ROUND_HALF_UP)
