"""Chapter 9, evaluation: thresholds, floors, the published tables, exercises."""

from collections.abc import Sequence

import ipywidgets as w
import numpy as np
from matplotlib.figure import Figure

from ..draw.base import BLUE, FORMULA, GREEN, GREY, INK, ORANGE, PALE, RED, Picture, new_plot, styled
from ..draw.faces import is_dark
from ..facs import ACTION_UNITS
from ..measure.metrics import at_threshold, floor_f1
from ..measure.statistics import minimum_detectable
from ..report.published import published
from .check import exercise
from .explore import SLIDER, explore


@exercise("9.1", "at rate r: tp = 0.8 r, fp = 0.2 (1 − r), fn = 0.2 r; then F1 = 2 tp / (2 tp + fp + fn)",
          tolerance=0.1)
def _one_detector_at_two_rates():
    probabilities, labels = [1] * 8 + [0] * 2 + [1] * 2 + [0] * 8, [1] * 10 + [0] * 10
    return [at_threshold(probabilities, labels, 0.5, rate)["f1"] for rate in (0.5, 0.1)]


@exercise("9.2", "solve 2 r / (1 + r) = 0.635 for r", tolerance=0.002)
def _rate_that_scores_the_papers_mean():
    rates = np.linspace(0, 1, 100_001)
    return float(rates[np.argmin(np.abs(floor_f1(rates) - 63.5))])


@exercise("9.3", "8 × 48.5 is the sum that the printed mean stands for; take the other seven entries away",
          tolerance=0.41)
def _true_au9_of_eac_net():
    rows = [row for row in published() if (row["dataset"], row["method"]) == ("disfa", "EAC-Net")]
    return len(rows) * rows[0]["printed_average"] - sum(row["f1_percent"] for row in rows if row["au"] != 9)


@exercise("9.4", "try minimum_detectable(n) of lorral_lite.measure.statistics for growing n until it is at most 0.3")
def _people_for_a_small_gain():
    return next(n for n in range(3, 1000) if minimum_detectable(n) <= 0.3)


@styled
def plot_floor(rates: dict[str, dict[int, float]]) -> Picture:
    """What always saying yes scores at each base rate, with the AUs of data sets on it: {data set: {AU: rate}}."""
    means = {name: float(np.mean(floor_f1(list(values.values())))) for name, values in rates.items()}
    fig = new_plot(8.6, 5.0, "F1 of always saying yes against the base rate; mean F1: "
                   + ", ".join(f"{name} {mean:.2f} %" for name, mean in means.items()))
    ax = fig.subplots()
    r = np.linspace(0, 1, 201)
    ax.plot(100 * r, floor_f1(r), color=PALE, lw=4, zorder=1)
    ax.text(80, 83, r"$\frac{2r}{1+r}$", fontsize=20, color=GREY, gid=FORMULA)
    for k, (name, values) in enumerate(rates.items()):
        colour = (BLUE, ORANGE, GREEN)[k % 3]
        x = np.array(list(values.values()))
        ax.plot(100 * x, floor_f1(x), "os^"[k % 3], color=colour, mec="white", ms=9, zorder=3,
                label=f"{name}: mean of its AUs {means[name]:.2f} %")
        ax.axhline(means[name], color=colour, lw=1.2, ls="--", zorder=0)
        near: list[list[tuple[float, int]]] = []
        for rate, au in sorted((rate, au) for au, rate in values.items()):
            if near and 100 * (rate - near[-1][0][0]) < 3:
                near[-1].append((rate, au))
            else:
                near.append([(rate, au)])
        for group in near:  # AUs of nearly equal rates share a label, above the curve or, for every second set, below
            rate = float(np.mean([rate for rate, _ in group]))
            ax.annotate(", ".join(str(au) for _, au in group), (100 * rate, floor_f1(rate)),
                        (-8, 6) if k % 2 == 0 else (9, -11), textcoords="offset points", fontsize=11.5,
                        ha="right" if k % 2 == 0 else "left", color=is_dark(colour))
    ax.set(xlabel="base rate r: share of frames that show the AU (%)", ylabel="F1 of always saying yes (%)",
           xlim=(-4, 100), ylim=(0, 100))
    ax.grid()
    ax.legend(loc="lower right")
    return fig


@styled
def plot_threshold(probabilities, labels, threshold: float = 0.5, rate: float | None = None,
                   name: str = "AU") -> Picture:
    """One AU's probabilities on frames with and without it, and precision, recall and F1 at every threshold.

    Arguments as in :func:`at_threshold`, which computes the figures.
    """
    now = at_threshold(probabilities, labels, threshold, rate)
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    fig = new_plot(11.8, 4.2, f"{name} at threshold {threshold:.2f} and base rate {100 * now['rate']:.0f} %: precision "
                   f"{now['precision']:.0f}, recall {now['recall']:.0f}, F1 {now['f1']:.0f}, always yes "
                   f"{now['floor']:.0f} %")
    left, right = fig.subplots(1, 2)
    bins = np.linspace(0, 1, 26)
    for shown, weight, colour, label in ((0, 1 - now["rate"], GREY, "frames without it"),
                                         (1, now["rate"], BLUE, "frames that show it")):
        part = p[y == shown]
        left.hist(part, bins, weights=np.full(len(part), 100 * weight / len(part)), color=colour, alpha=0.65,
                  label=label)
    left.set(title=f"{name}, {100 * now['rate']:.0f} % of the frames", xlabel="predicted probability",
             ylabel="share of all frames (%)", xlim=(0, 1))
    grid = np.linspace(0, 1, 101)
    curves = [at_threshold(p, y, t, rate) for t in grid]
    for c in curves:
        c["precision"] = c["precision"] or np.nan  # nothing is claimed any more: there is no precision
    for key, colour, dash in (("precision", ORANGE, ":"), ("recall", GREEN, "--"), ("f1", BLUE, "-")):
        right.plot(grid, [c[key] for c in curves], dash, color=colour, label="F1" if key == "f1" else key)
    right.axhline(now["floor"], color=GREY, lw=1.6, label="F1 of always yes")
    right.plot(threshold, now["f1"], "o", color=BLUE, ms=10, mec="white")
    right.set(title=f"F1 {now['f1']:.0f}, precision {now['precision']:.0f}, recall {now['recall']:.0f}",
              xlabel="threshold", ylabel="%", xlim=(0, 1), ylim=(0, 102))
    keys = [left.get_legend_handles_labels(), right.get_legend_handles_labels()]
    right.legend(keys[0][0] + keys[1][0], keys[0][1] + keys[1][1], loc="upper left", bbox_to_anchor=(1, 1), fontsize=11)
    for ax in (left, right):
        ax.axvline(threshold, color=RED, lw=1.8)
        ax.grid(axis="y")
    return fig


@styled
def plot_audit(audit: Sequence[dict]) -> Picture:
    """Printed minus recomputed mean of every published row (:func:`lorral_lite.report.published.audit_published`)."""
    rows = sorted(audit, key=lambda row: (row["dataset"], abs(row["difference"])))
    wrong = [f"{r['method']} on {r['dataset'].upper()} {r['difference']:+.1f}" for r in rows if r["mismatch"]]
    fig = new_plot(10.2, 5.6, "Printed minus recomputed mean F1 of each published row; beyond rounding: "
                   + ", ".join(wrong))
    sets = list(dict.fromkeys(r["dataset"] for r in rows))
    for ax, dataset in zip(fig.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        here = [r for r in rows if r["dataset"] == dataset]
        ax.axvline(0, color=INK, lw=1)
        for y, r in enumerate(here):
            colour = RED if r["mismatch"] else GREY
            ax.plot([0, r["difference"]], [y, y], color=colour, lw=3)
            ax.plot(r["difference"], y, "o", color=colour)
            if r["mismatch"]:
                ax.annotate(f"{r['difference']:+.2f}".replace("-", "−"), (r["difference"], y),
                            (8 if r["difference"] > 0 else -8, 0), textcoords="offset points", va="center",
                            ha="left" if r["difference"] > 0 else "right", color=is_dark(RED), fontsize=12)
        ax.set_yticks(range(len(here)), [r["method"] for r in here])
        widest = max(abs(r["difference"]) for r in here)
        ax.set(title=dataset.upper(), xlabel="printed − recomputed (points)", xlim=(-1.5 * widest, 1.5 * widest))
        ax.grid(axis="x")
    return fig


@styled
def plot_published(audit: Sequence[dict], floors: dict[str, float], ours: dict[str, float] | None = None,
                   ours_floor: float | None = None, data: str = "procedural faces") -> Picture:
    """Recomputed means of the published rows over the floor of each data set.

    ``ours`` stands apart: as this run when ``data`` is one of the published sets, else marked as other data.
    """
    sets = list(dict.fromkeys(r["dataset"] for r in audit))
    panels = [(name.upper(), {r["method"]: r["recomputed"] for r in audit if r["dataset"] == name}, floors[name])
              for name in sets]
    if ours:
        same = data.lower() in sets
        panels.append((f"this run, one fold of {data}" if same else f"OTHER DATA: {data}", ours, ours_floor))
    alt = "Mean F1: " + "; ".join(f"{name}, floor {'unknown' if floor is None else format(floor, '.2f')}, "
                                  + ", ".join(f"{k} {v:.1f}" for k, v in values.items())
                                  for name, values, floor in panels)
    fig = new_plot(4.1 * len(panels), 5.4, alt)
    for k, (ax, (name, values, floor)) in enumerate(zip(fig.subplots(1, len(panels), squeeze=False)[0], panels,
                                                       strict=True)):
        other = k == len(sets) and not same
        items = sorted(values.items(), key=lambda item: item[1])
        colours = [ORANGE if other else BLUE if method.startswith("LoRRaL") else "#9db7c9" for method, _ in items]
        ax.barh(range(len(items)), [v for _, v in items], color=colours, height=0.7, hatch="//" if other else None,
                edgecolor="white")
        for y, (_, v) in enumerate(items):
            ax.text(v + 1, y, f"{v:.1f}", va="center", fontsize=11)
        if floor is not None:
            ax.axvline(floor, color=RED, lw=2)
            ax.text(floor + 1, -0.95, f"always yes {floor:.2f}", color=is_dark(RED), fontsize=11.5, va="center")
        ax.set_yticks(range(len(items)), [method for method, _ in items])
        ax.set(xlim=(0, 100), ylim=(-1.4, max(len(items), 8) - 0.4), xlabel="mean F1 (%)")
        ax.set_title(name, color=is_dark(RED) if other else "#111111", fontsize=12 if other else 14)
        if other:
            ax.set_facecolor("#fbf3e6")
            ax.text(0.5, 0.96, "not comparable with\nthe panels beside it", transform=ax.transAxes, ha="center",
                    va="top", fontsize=12, weight="bold", color=is_dark(RED))
    return fig


def threshold_explorer(probabilities, labels, aus: Sequence[int]) -> w.VBox:
    """One AU's threshold and base rate by slider: probabilities and labels (N, A), ``aus`` their A numbers.

    The base rate starts at the data's own; choosing another AU sets it anew.
    """
    p, y, aus = np.asarray(probabilities), np.asarray(labels), list(aus)

    def own_rate(au: int) -> float:
        here = y[:, aus.index(au)]
        return float(np.clip(round(100 * (here == 1).sum() / max((here >= 0).sum(), 1)), 1, 99))

    def draw(au: int, threshold: float, rate: float) -> Figure:
        a = aus.index(au)
        return plot_threshold(p[:, a], y[:, a], threshold, rate / 100, f"AU{au} {ACTION_UNITS[au].name.lower()}")

    choice = w.Dropdown(options=[(f"AU{au}", au) for au in aus], description="AU", layout=w.Layout(width="12em"))
    rate = w.FloatSlider(own_rate(aus[0]), min=1, max=99, step=1, description="base rate %", readout_format=".0f",
                         continuous_update=False, layout=SLIDER, style={"description_width": "6em"})
    choice.observe(lambda change: setattr(rate, "value", own_rate(change["new"])), names="value")
    threshold = w.FloatSlider(0.5, min=0, max=1, step=0.05, continuous_update=False, layout=SLIDER)
    return explore(draw, au=choice, threshold=threshold, rate=rate)
