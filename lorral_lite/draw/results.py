"""Pictures of results: curves, bars, gains, matrices."""

import math
from collections.abc import Sequence

import numpy as np

from ..model.relations import RELATIONS, Relation, label_of
from .base import BLUE, GREEN, INK, ORANGE, PALE, PINK, RED, Picture, new_plot, styled, titled

OUTPUT_NAMES = {"local": "local output (sees the relation module only)", "au": "AU output (sees everything)"}


def look_of(name: str) -> tuple[str, str]:
    """Colour and marker of what was scored: those of a relation, else ink and a dot."""
    relation = RELATIONS.get(name, Relation)
    return relation.colour, relation.marker


@styled
def training_curves(log, title: str | None = None) -> Picture:
    """Losses, landmark loss and learning rate over epochs, and held-out F1 when the log has it.

    ``log``: the rows of a log.jsonl (dicts with epoch, train_loss, au, local_au, landmark, lr), or {name:
    rows} to lay several runs over each other (then one line per run: the total loss).
    """
    runs = log if isinstance(log, dict) else {"": log}
    if not runs or not all(runs.values()):
        raise ValueError("no epoch to draw: the log is empty")
    several = len(runs) > 1
    scored = any("val_mean_f1" in row for rows in runs.values() for row in rows)
    fig = new_plot(11.2 if not scored else 14.2, 3.9,
                   titled(title, "training loss and learning rate over epochs"))
    axes = fig.subplots(1, 3 if scored else 2)
    parts = {"train_loss": ("total", INK, "-"), "au": ("AU output", BLUE, "-"),
             "local_au": ("local output", RED, "--"), "landmark": ("landmarks", GREEN, ":")}
    longest = 1
    for name, rows in runs.items():
        colour, marker = look_of(name)
        epochs = [row["epoch"] + 1 for row in rows]
        longest = max(longest, *epochs)
        dot = marker if len(rows) == 1 else None
        if several:
            axes[0].plot(epochs, [row.get("train_loss", np.nan) for row in rows], color=colour, marker=dot,
                         label=label_of(name))
        else:
            for key, (label, line_colour, dash) in parts.items():
                if any(row.get(key) is not None for row in rows):
                    axes[0].plot(epochs, _numbers(row.get(key) for row in rows), dash, color=line_colour, marker=dot,
                                 label=label)
        axes[1].plot(epochs, [row.get("lr", np.nan) for row in rows], color=colour if several else INK, marker=dot,
                     drawstyle="steps-mid")
        if scored:
            axes[2].plot(epochs, _numbers(row.get("val_mean_f1") for row in rows), marker=marker, ms=5,
                         color=colour if several else BLUE)
    axes[0].set(title="Training loss", ylim=(0, None))
    axes[1].set(title="Learning rate", yscale="log")
    if scored:
        axes[2].set(title="Mean F1, held-out people (%)")
    for ax in axes:
        ax.set(xlabel="epoch", xlim=(0.7, longest + 0.3))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y")
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1, 1))
    if title:
        fig.suptitle(title)
    return fig


@styled
def f1_bars(metrics_by_relation: dict, floor: dict | None = None, *, output: str = "local",
            intervals: dict | None = None, title: str | None = None) -> Picture:
    """F1 per AU and mean: one mark per relation over the grey bars of the always-positive floor.

    ``metrics_by_relation``: {relation: metrics.json}, all of the same AUs. ``floor``: that of always saying yes, as in
    the ``always_positive`` part of the metrics, which is the default. ``intervals``: {relation: (low, high)} of the
    mean, drawn as a bar. None: no label is known, so nothing is drawn.
    """
    if not metrics_by_relation:
        raise ValueError("no relation to draw: metrics_by_relation is empty")
    if len({tuple(metrics["aus"]) for metrics in metrics_by_relation.values()}) > 1:
        raise ValueError("what stands in one picture must have the same AUs")
    if output not in OUTPUT_NAMES:
        raise ValueError(f"unknown output {output!r}: choose from {', '.join(OUTPUT_NAMES)}")
    first = next(iter(metrics_by_relation.values()))
    aus = first["aus"]
    floor = first.get("always_positive") if floor is None else floor
    means = [(label_of(n), m["outputs"][output]["mean_f1"]) for n, m in metrics_by_relation.items()]
    fig = new_plot(11.5, 4.8, f"F1 per action unit, {output} output; means: " + ", ".join(
        f"{n} {or_dash(v)}" for n, v in means))
    ax = fig.subplots()
    x = np.append(np.arange(len(aus)), len(aus) + 0.5)
    ax.axvspan(len(aus) - 0.25, len(aus) + 1.25, color="#f3f3f3", lw=0)
    if floor is not None:
        ax.bar(x, _numbers([*floor["f1"], floor["mean_f1"]]), width=0.86, color=PALE, label="always positive")
    n = len(metrics_by_relation)
    for k, (name, metrics) in enumerate(metrics_by_relation.items()):
        part = metrics["outputs"][output]
        colour, marker = look_of(name)
        shift = (k - (n - 1) / 2) * min(0.14, 0.72 / n)
        ax.plot(x + shift, _numbers([*part["f1"], part["mean_f1"]]), marker, color=colour, ms=7.5, mec="white",
                mew=0.6, label=label_of(name), zorder=3)
        if intervals and name in intervals:
            ax.plot([x[-1] + shift] * 2, intervals[name], color=colour, lw=1.6, zorder=2)
    ax.set(ylabel="F1 (%)", ylim=(0, 100), xlim=(-0.6, len(aus) + 1.25), title=title or OUTPUT_NAMES[output])
    ax.set_xticks(x, [*(f"AU{a}" for a in aus), "mean"])
    ax.grid(axis="y")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=min(7, n + 1), columnspacing=1.1,
              handletextpad=0.3)
    return fig


def _numbers(values) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def or_dash(value: float | None, form: str = "{:.1f}") -> str:
    """A figure in words; a dash where none is known."""
    return "–" if value is None or math.isnan(value) else form.format(value)


@styled
def gain_plot(gains: Sequence[dict], title: str | None = None) -> Picture:
    """Paired gains in mean F1 with intervals, one panel per control, both outputs, zero marked.

    ``gains``: dicts with relation, control, output, gain, low, high (points of mean F1) and optionally
    ``clear``: True fills the mark (the corrected interval leaves out zero).
    """
    gains = list(gains)
    if not gains:
        raise ValueError("no gain to draw: the list is empty")
    controls = list(dict.fromkeys(g["control"] for g in gains))
    relations = list(dict.fromkeys(g["relation"] for g in gains))
    alt = "Gain in mean F1 over " + " and ".join(label_of(c) for c in controls)
    alt += ", local output: " + ", ".join(f"{label_of(g['relation'])} {g['gain']:+.1f}"
                                          for g in gains if g["output"] == "local")
    fig = new_plot(5.9 * max(len(controls), 1.3), 1.9 + 0.62 * len(relations), alt)
    axes = fig.subplots(1, len(controls), sharey=True, sharex=True, squeeze=False)[0]
    looks = {"local": (BLUE, "D", -0.14), "au": (ORANGE, "o", 0.14)}
    labelled = set()
    for ax, control in zip(axes, controls, strict=True):
        ax.axvline(0, color=INK, lw=1.2)
        for g in (g for g in gains if g["control"] == control):
            colour, marker, shift = looks[g["output"]]
            y = relations.index(g["relation"]) + shift
            if None not in (g["low"], g["high"]):
                ax.plot([g["low"], g["high"]], [y, y], color=colour, lw=2.6, solid_capstyle="butt")
            label = None if g["output"] in labelled else f"{g['output'] if g['output'] == 'local' else 'AU'} output"
            labelled.add(g["output"])
            ax.plot(g["gain"], y, marker, color=colour, mfc=colour if g.get("clear", True) else "white", mew=2, ms=8,
                    label=label)
        ax.set(title=f"against {label_of(control)}", xlabel="gain in mean F1 (points)")
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(relations)), [label_of(r) for r in relations])
    axes[0].set_ylim(len(relations) - 0.5, -0.5)
    fig.legend(loc="outside lower center", ncols=2)
    if title:
        fig.suptitle(title)
    return fig


@styled
def matrix(values, labels: Sequence[str], title: str = "", *, column_labels: Sequence[str] | None = None,
           limit: float | None = None, unit: str = "", numbers: bool = True) -> Picture:
    """A heat map: orange–purple around 0 for signed values (phi), white to blue for weights (attention).

    ``values`` (R, C) with one ``labels`` entry per row (and per column unless ``column_labels``). With ``numbers``
    they are printed in the cells up to 13 rows. ``limit`` fixes the colour scale (±limit, or 0–limit).
    """
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
    columns = labels if column_labels is None else column_labels
    if array.shape != (len(labels), len(columns)):
        raise ValueError(f"values of shape {array.shape} do not fit {len(labels)} rows and {len(columns)} columns")
    signed = bool(np.nanmin(array) < 0)
    off = array[~np.eye(*array.shape, dtype=bool)] if signed and array.shape[0] == array.shape[1] else array
    top = limit if limit is not None else float(np.nanmax(np.abs(off))) or 1.0
    cell = 0.62
    fig = new_plot(1.9 + cell * len(columns), 1.0 + 0.93 * cell * len(labels),
                   titled(title, f"heat map, {len(labels)} rows, {len(columns)} columns"))
    ax = fig.subplots()
    shown = ax.imshow(array, cmap="PuOr" if signed else "Blues", vmin=-top if signed else 0, vmax=top,
                      interpolation="nearest")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(labels)), labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if numbers and len(labels) <= 13 and len(columns) <= 13:
        for i, j in np.ndindex(array.shape):
            share = array[i, j] / top
            dark = abs(share) > 0.6
            text = or_dash(array[i, j], "{:.2f}").replace("0.", ".").replace("-", "−")
            ax.text(j, i, f"{array[i, j]:.0f}" if abs(array[i, j]) >= 0.995 else text, ha="center", va="center",
                    fontsize=11, color="white" if dark else INK)
    bar = fig.colorbar(shown, ax=ax, shrink=0.8, pad=0.03)
    bar.set_label(unit)
    bar.outline.set_visible(False)
    if title:
        ax.set_title(title)
    return fig


# ---------------------------------------------------------------------------------- drawn for notebooks 01 to 04


@styled
def bars(series: dict[str, Sequence[float]], labels: Sequence[str], title: str = "", ylabel: str = "", *,
         log: bool = False, form: str = "{:.0f}") -> Picture:
    """Grouped bars with their numbers on top: {name: one value per label}; ``log`` for values of many sizes."""
    if not series or any(len(values) != len(labels) for values in series.values()):
        raise ValueError(f"bars need one value per label ({len(labels)}) in every series")
    width = 0.84 / len(series)
    wide = min(11.5, max(6.5, 0.62 * len(labels) * len(series) + 1.6))
    fig = new_plot(wide, 3.9, titled(title, f"bars of {', '.join(series)}"))
    ax = fig.subplots()
    for k, (name, values) in enumerate(series.items()):
        x = np.arange(len(labels)) + (k - (len(series) - 1) / 2) * width
        shown = ax.bar(x, values, 0.94 * width, color=(BLUE, ORANGE, GREEN, PINK)[k % 4], label=name)
        ax.bar_label(shown, [or_dash(v, form) for v in values], fontsize=11, padding=2)
    ax.set_xticks(range(len(labels)), labels)
    ax.set(ylabel=ylabel, title=title, yscale="log" if log else "linear")
    tallest = [max(group) for group in zip(*series.values(), strict=True)]  # of each label
    full = min(tallest) > 0.3 * max(tallest)
    crowded = full and len(series) > 1  # no room beside the bars: make some above them
    ax.margins(x=0.02, y=0.35 if crowded and not log else 0.12)
    if len(series) > 1:
        ax.legend(loc="upper right" if crowded else "best", ncols=len(series) if crowded else 1)
    return fig


@styled
def plot_estimates(groups: dict[str, dict[str, object]], title: str, xlabel: str, *, zero: bool = False) -> Picture:
    """Values with their intervals, one line each: {series: {label: Estimate}}, all series with the same labels.

    An estimate is anything with ``value``, ``low`` and ``high``; nan ends draw the value alone.
    """
    labels = list(next(iter(groups.values()))) if groups else []
    if not labels or any(list(values) != labels for values in groups.values()):
        raise ValueError("estimates need at least one series, and every series the same labels")
    words = "; ".join((f"{name}: " if name else "") + ", ".join(
        f"{k} {or_dash(e.value)}" + ("" if math.isnan(e.low) else f" ({e.low:.1f} to {e.high:.1f})")
        for k, e in values.items()) for name, values in groups.items())
    fig = new_plot(8.8, 1.7 + 0.42 * len(labels) * max(1, 0.7 * len(groups)), titled(title, words))
    ax = fig.subplots()
    for k, (name, values) in enumerate(groups.items()):
        colour, marker = ((BLUE, "D"), (ORANGE, "o"), (GREEN, "s"))[k % 3]
        y = np.arange(len(labels)) + (k - (len(groups) - 1) / 2) * 0.34
        for at, e in zip(y, values.values(), strict=True):
            ax.plot([e.low, e.high], [at, at], color=colour, lw=3, solid_capstyle="butt")
        ax.plot([e.value for e in values.values()], y, marker, color=colour, ms=7, mec="white", mew=0.8, label=name)
    if zero:
        ax.axvline(0, color=INK, lw=1.2, zorder=0)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(title=title, xlabel=xlabel, ylim=(len(labels) - 0.4, -0.6))
    ax.grid(axis="x")
    if len(groups) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig
