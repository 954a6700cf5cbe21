"""``--check``: read everything but pixels, say what was found and missing, and compare with the golden numbers."""

import json
from collections import Counter
from collections.abc import Callable

import numpy as np

from ..files import data_file
from .folds import protocol_parts
from .preparing import checked
from .source import Source

MOST_MISSING = 20
"""Lines about what is missing that :func:`describe` prints."""


def describe(source: Source, say: Callable[[str], None] = print) -> None:
    """Print the choices, what was found, and what is missing."""
    say(f"{source.name.upper()} in {source.root}" + (" (a procedural stand-in)" if source.meta["stand_in"] else ""))
    for name, value in source.choices.items():
        say(f"  choice --{name} {f'({len(value)}) ' + ' '.join(value) if isinstance(value, list) else value}")
    for line in source.found:
        say(f"  found {line}")
    for line in source.missing[:MOST_MISSING]:
        say(f"  missing {line}")
    if len(source.missing) > MOST_MISSING:
        say(f"  missing … and {len(source.missing) - MOST_MISSING} more")


def agrees_with_published(source: Source, whole_set: bool, say: Callable[[str], None] = print) -> bool:
    """Count frames and AUs per fold; True when nothing that can be compared differs from the golden numbers.

    Labels count also where pictures or landmarks are missing. ``whole_set``: the reader claims to have all subjects;
    else only folds whose test subjects are all among the chosen ones are compared, the others said not comparable.
    """
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))[source.name]
    rule, usual = source.choices["frames"], source.choices.get("threshold", 2) == 2
    frames = chosen = filled = 0
    absent: dict[str, int | None] = dict.fromkeys(source.subjects, 0)
    reasons, good = Counter(), True
    for sequence in source.sequences:
        read = checked(sequence)
        frames += len(read.numbers)
        filled += 0 if read.filled is None else int(read.filled.sum())
        chosen += sum(skip.chosen for skip in read.skips)
        before = absent[sequence.subject]
        absent[sequence.subject] = None if None in (before, read.absent) else before + read.absent
        reasons.update(skip.reason for skip in read.skips if not skip.chosen)
    say(f"  usable without looking at pixels: {frames:,} of {sum(s.rows for s in source.sequences):,} rows, "
        f"{chosen:,} left out by choice, {filled:,} with filled-in landmarks")
    for reason, count in reasons.most_common(10):
        say(f"  {count:,} × {reason}")
    parts = protocol_parts(source.name)
    for fold, part in ((1, 2), (2, 1), (3, 0)):
        members = set(parts[part])
        if not whole_set and not members <= set(source.subjects):
            say(f"fold {fold} (tests part {part + 1}): not comparable, {len(members - set(source.subjects))} of its "
                f"{len(members)} subjects were not asked for")
            continue
        labels = [coded.labels for (subject, _), coded in source.coded.items() if subject in members]
        labels = np.concatenate(labels) if labels else np.empty((0, len(source.aus)), np.int8)
        say(f"fold {fold} (tests part {part + 1}, {len(members)} subjects)")
        columns = [("labelled", len(labels), golden["frames"]["all"][part])]
        without = [absent.get(subject, 0) for subject in sorted(members)]
        if None in without:
            say("  landmark files are missing: frames without landmarks are not comparable")
        elif source.name == "bp4d" or rule == "jaa":
            columns.append(("with marks", len(labels) - sum(without), golden["frames"]["jaa"][part]))
        if usual:
            columns += [(f"AU{au}", int(count), wanted) for au, count, wanted in
                        zip(source.aus, (labels == 1).sum(0), golden["positives"][part], strict=True)]
        say("  " + "".join(f"{name:>11}" for name, _, _ in columns))
        say("  " + "".join(f"{count:>11,}" for _, count, _ in columns))
        wrong = [f"{name} {wanted:,}" for name, count, wanted in columns if count != wanted]
        say(f"  MISMATCH, published: {', '.join(wrong)}" if wrong else "  as published")
        good = good and not wrong
    if not usual:
        say("AU counts with this threshold are not comparable: the published ones are for 2")
    return good
