"""Do the intervals hold what they promise? Coverage of the true mean F1 on simulated data sets.

Labels are drawn with the real rates, relations and subject spread of BP4D or DISFA
(:class:`~lorral_lite.faces.population.Population`). The simulated model sees noisy evidence for each AU, through eyes
that differ from person to person (D98). Two truths can be asked for: the F1 on very many people, and the mean of the
figure over test sets of this size, which lies lower where folds are small and AUs are rare (F1 is a ratio). An interval
at 95 % should hold them in 95 of 100 data sets. That no network is trained is the point and the limit: how much another
training would move the figure is not in these intervals.
"""

import numpy as np
import torch
from scipy import stats

from lorral_lite.faces.population import Population
from lorral_lite.measure.statistics import mean_f1, minimum_detectable, nested_jackknife
from lorral_lite.output import progress_bar

from . import Goal, Table

SKILL = {"bp4d": 1.45, "disfa": 2.3}
"""How far evidence for a shown AU lies from evidence for an absent one, in its own noise: mean F1 near the paper's."""

SKILL_SPREAD, BIAS_SPREAD, LEAD = 0.25, 0.4, 0.05
FRAMES, DRAWS, TRUE_PEOPLE = 100, 500, 20_000

SETTINGS = (("bp4d", 41, 1), ("bp4d", 41, 3), ("bp4d", 30, 1), ("bp4d", 14, 1), ("disfa", 27, 1), ("disfa", 27, 3),
            ("disfa", 9, 1))
"""Data set, people tested, folds they lie in. 41 and 27 are all people of BP4D and DISFA, 14 and 9 those of one fold;
30 are tested in one fold of the procedural faces."""


def simulate(population: Population, people: int, frames: int = FRAMES, first: int = 0) -> np.ndarray:
    """Counts (people, 2, 4, A) of two models on the same frames: tp, fp, fn, tn; the second is a little better.

    ``first``: number of the first person; other numbers are other people.
    """
    labels = population.subjects(people, frames, first).labels  # (P, F, A)
    rng = np.random.default_rng([population.seed, first, people])
    a = labels.shape[2]
    sharp = np.exp(SKILL_SPREAD * rng.standard_normal((people, 1, 1)))  # whose faces are easy to read
    bias = BIAS_SPREAD * rng.standard_normal((people, 1, a))  # who looks as if the AU were shown, or not, at rest
    noise = rng.standard_normal(labels.shape)
    both = []
    for lead in (0.0, LEAD):
        skill = SKILL[population.profile] + lead
        own = np.sqrt(0.9) * noise + np.sqrt(0.1) * rng.standard_normal(labels.shape)
        evidence = skill * sharp * labels + bias + own
        logit = skill * evidence - skill**2 / 2 + np.log(population.rates / (1 - population.rates))
        yes, shown = logit >= 0, labels == 1
        both.append([(yes & shown).sum(1), (yes & ~shown).sum(1), (~yes & shown).sum(1), (~yes & ~shown).sum(1)])
    return np.array(both, dtype=float).transpose(2, 0, 1, 3)


def truth(population: Population, people: int = TRUE_PEOPLE) -> tuple[float, float]:
    """Mean F1 (%) of the first model, and the gain of the second in points, over very many people."""
    blocks = range(10**6, 10**6 + people, 500)  # people whom no data set holds
    counts = np.concatenate([simulate(population, 500, first=first).sum(0, keepdims=True) for first in blocks])
    return mean_f1(counts[:, 0]), mean_f1(counts[:, 1]) - mean_f1(counts[:, 0])


def gain(pair: np.ndarray) -> float:
    """Second model minus first, (S, 2, 4, A)."""
    return mean_f1(pair[:, 1]) - mean_f1(pair[:, 0])


def bootstrap_interval(counts: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of mean F1 at 95 %: whole people, (S, 4, A), are drawn again with replacement."""
    drawn = stats.bootstrap((np.arange(len(counts)),), lambda people: mean_f1(counts[people]), n_resamples=draws,
                            vectorized=False, method="percentile", random_state=np.random.default_rng(seed))
    return drawn.confidence_interval


def coverage(profile: str, people: int, folds: int = 1, sets: int = 1000, seed: int = 0, draws: int = DRAWS,
             true: tuple[float, float] | None = None, progress: bool = False) -> dict:
    """How often 95 % intervals hold the true mean F1 over ``sets`` simulated data sets of ``people`` people.

    → {"true", "mean" and "half_width" in %; shares of data sets in % whose interval holds the true F1, "jackknife" and
    "bootstrap" (percentiles; None in several folds), or the mean of the figure, "own", or the true paired gain, "gain";
    "gain_true" and "gain_sd" in points}. With ``folds`` the figure is the mean over the folds' F1, as in the paper.
    """
    population = Population(profile, seed=seed)
    true_f1, true_gain = truth(population) if true is None else true
    held = {"jackknife": 0, "gain": 0, "bootstrap": 0}
    values, halves, spreads = [], [], []
    for k in progress_bar(range(sets), desc=f"{profile}, {people} people", unit="set", disable=not progress,
                          leave=False):
        counts = simulate(population, people, first=k * people)
        cells = {(fold, 0): counts[fold::folds] for fold in range(folds)}
        level = nested_jackknife({cell: c[:, 0] for cell, c in cells.items()}, mean_f1)
        more = nested_jackknife(cells, gain)
        held["jackknife"] += level.low <= true_f1 <= level.high
        held["gain"] += more.low <= true_gain <= more.high
        if folds == 1 and draws:
            low, high = bootstrap_interval(counts[:, 0], draws, seed=k)
            held["bootstrap"] += low <= true_f1 <= high
        values.append(level.value)
        halves.append(level.high - level.value)
        spreads.append(more.se * people**0.5)
    held["own"] = sum(abs(v - np.mean(values)) <= half for v, half in zip(values, halves, strict=True))
    shares = {name: 100 * count / sets for name, count in held.items()}
    if folds > 1 or not draws:
        shares["bootstrap"] = None
    return {"true": true_f1, "mean": float(np.mean(values)), "half_width": float(np.mean(halves)), **shares,
            "gain_true": true_gain, "gain_sd": float(np.median(spreads))}


def measure(device: torch.device, tiny: bool):
    """Coverage of the jackknife and the bootstrap, then what a paired comparison could see."""
    sets, draws, people = (20, 50, 500) if tiny else (1000, DRAWS, TRUE_PEOPLE)
    rows, gains, spread, goals = [], [], {}, {"jackknife": [], "gain": []}
    true = {profile: truth(Population(profile), people) for profile in SKILL}
    for profile, n, folds in SETTINGS:
        found = coverage(profile, n, folds, sets, draws=draws, true=true[profile], progress=not tiny)
        what = f"{profile.upper()}'s rates, {n} people" + (f" in {folds} folds" if folds > 1 else "")
        rows.append([what, found["true"], found["mean"], found["half_width"], found["jackknife"], found["own"],
                     found["bootstrap"]])
        gains.append([what, found["gain_true"], found["gain_sd"], found["gain"]])
        spread.setdefault((profile, n), found["gain_sd"])
        for name, share in (("jackknife", found["jackknife"]), ("gain", found["gain"])):
            goals[name].append(Goal(f"{what}: points away from 95 %", abs(share - 95), 2))
    yield Table(
        "Coverage of a 95 % interval of mean F1",
        ["simulated", "true F1, %", "mean of the figure, %", "half width, points", "jackknife-t holds the true F1, %",
         "holds the mean of the figure, %", "percentile bootstrap holds the true F1, %"], rows,
        goals=goals["jackknife"],
        note=f"{sets} data sets each, {FRAMES} frames of each person, labels with the real rates, relations and "
             f"subject spread, a simulated model (D98). Bootstrap: {draws} draws, one fold only. By chance alone a "
             f"share of 95 % moves by ±{196 * (0.95 * 0.05 / sets) ** 0.5:.1f}. Where folds are small and AUs rare the "
             "figure itself lies low, which no interval over people sees. The same model is tested in every data set: "
             "what training it again with another seed would change is left out of every interval here.",
    )
    yield Table(
        "Coverage of a 95 % interval of a paired gain",
        ["simulated", "true gain, points", "spread between people, points", "jackknife-t holds it, %"], gains,
        goals=goals["gain"],
        note="Two models on the same frames, the second a little better. Spread: standard deviation of the gain "
             "between people (median over data sets).",
    )
    yield Table(
        "The smallest gain that a paired comparison sees",
        ["people", "effect size d_z", "points, if the spread is as simulated"],
        [[f"{n}, all of {profile.upper()}", minimum_detectable(n), minimum_detectable(n, spread[profile, n])]
         for profile, n in (("bp4d", 41), ("disfa", 27))],
        note="Two-sided paired t test at 5 %, found with a power of 80 %. d_z: the mean gain over people in units of "
             "its standard deviation between people. One comparison; Holm's correction over several asks for more.",
    )
