"""Exercises of the notebooks: ``check("5.2", value)`` compares an answer with the true value, which is computed here.

An exercise that was not touched holds ``...`` and is reported as not attempted, so every notebook runs to its end.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch

from .ceiling import joint_posterior
from .data_files import data_file
from .faces.population import Population, lowest_phi
from .facs import ACTION_UNITS, AU_SETS, EXPRESSIONS
from .figures import at_threshold, displacements, floor_f1
from .landmarks import alignment, interocular
from .layers import PatchConv
from .losses import landmark_loss
from .model import LoRRaL, LoRRaLConfig, feat_stack
from .predict import mean_landmarks, portrait
from .relations import BiLSTMRelation, hopfield_retrieve, position_encoding
from .reporting import published
from .run_folder import load_model
from .statistics import holm, minimum_detectable
from .training import Schedule
from .widgets import QUIZ_AUS, agreement, patch_model, quiz_item, retrieval_rate, seen_pixels


@dataclass(frozen=True)
class Exercise:
    """``answer()`` computes the true value; numbers may differ by ``tolerance``, anything else must be equal."""

    answer: Callable
    hint: str
    tolerance: float = 0.0


EXERCISES: dict[str, Exercise] = {}
"""Number → exercise; each notebook's are added by a function of its own below."""


def exercise(number: str, hint: str, tolerance: float = 0.0):
    """Register the decorated function as the true answer of an exercise."""

    def add(answer: Callable) -> Callable:
        if number in EXERCISES:
            raise ValueError(f"exercise {number} exists already")
        EXERCISES[number] = Exercise(cache(answer), hint, tolerance)  # computed once, however often it is asked
        return answer

    return add


def is_correct(number: str, value) -> bool:
    """Whether ``value`` is the exercise's answer within its tolerance; ValueError when there is no such exercise."""
    if number not in EXERCISES:
        raise ValueError(f"there is no exercise {number}: choose from {', '.join(EXERCISES)}")
    item = EXERCISES[number]
    true = item.answer()
    if isinstance(true, (bool, str)):
        return value == true
    try:
        if isinstance(true, (set, frozenset, tuple)):
            return type(true)(value) == true
        given = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return False
    true = np.asarray(true, dtype=float)
    return given.shape == true.shape and bool(np.all(np.abs(given - true) <= item.tolerance))


def check(number: str, value) -> None:
    """Say whether an answer is right; a wrong one gets the hint, ``...`` is not attempted yet."""
    if value is ...:
        print(f"Exercise {number}: not attempted yet")
    elif is_correct(number, value):
        print(f"Exercise {number}: correct")
    else:
        print(f"Exercise {number}: not yet. Hint: {EXERCISES[number].hint}")


# ------------------------------------------------------------------------------------------------ 01 to 10, in order


# 01


@exercise("1.1", "rows = displacements(list(ACTION_UNITS))[1].reshape(18, 98); scale each to length 1, then multiply")
def _against_au12():
    _, moved = displacements(ACTION_UNITS)
    rows = moved.reshape(len(moved), -1)
    cosines = rows @ rows[list(ACTION_UNITS).index(12)] / np.linalg.norm(rows, axis=1)
    return list(ACTION_UNITS)[int(cosines.argmin())]


@exercise("1.2", "compare EXPRESSIONS['fear'] with EXPRESSIONS['surprise']; a set difference does it in one line")
def _fear_without_surprise():
    return set(EXPRESSIONS["fear"]) - set(EXPRESSIONS["surprise"])


@exercise("1.3", "coded = np.isin(QUIZ_AUS, [6, 12]) for every face; agreement returns (F1, kappa)", tolerance=0.005)
def _kappa_of_the_smiler():
    items = [quiz_item(n) for n in range(20)]
    truth = [[au in item.aus for au in QUIZ_AUS] for item in items]
    return agreement(truth, [[au in (6, 12) for au in QUIZ_AUS]] * len(items))[1]


@exercise("1.4", "copy the truth (20 × 12), set the first True of each row to False (argmax finds it), ask agreement",
          tolerance=0.5)
def _f1_of_the_careful():
    items = [quiz_item(n) for n in range(20)]
    found = sum(len(item.aus) - 1 for item in items)
    return 100 * 2 * found / (2 * found + len(items))


# 02


@exercise("2.1", "phi = (P(both) - p q) / sqrt(p (1-p) q (1-q)); solve it for P(both)", tolerance=0.0005)
def _both_12_and_15():
    table = json.loads(data_file("protocol", "au_statistics.json").read_text(encoding="utf8"))["bp4d"]
    i, j = table["aus"].index(12), table["aus"].index(15)
    p, q = table["rate"][i], table["rate"][j]
    return p * q + table["phi"][i][j] * (p * (1 - p) * q * (1 - q)) ** 0.5


@exercise("2.2", "take disfa['phi'] as an array, find its smallest entry with argmin, look up both AU numbers")
def _strongest_exclusion_of_disfa():
    table = json.loads(data_file("protocol", "au_statistics.json").read_text(encoding="utf8"))["disfa"]
    i, j = np.unravel_index(np.argmin(table["phi"]), np.shape(table["phi"]))
    return {table["aus"][i], table["aus"][j]}


@exercise("2.3", "phi / lowest_phi(p, q) with the pair's two rates p and q, once for each data set", tolerance=0.01)
def _share_of_the_exclusion_that_is_possible():
    tables = json.loads(data_file("protocol", "au_statistics.json").read_text(encoding="utf8"))
    shares = []
    for name in ("bp4d", "disfa"):
        i, j = tables[name]["aus"].index(4), tables[name]["aus"].index(12)
        p, q = tables[name]["rate"][i], tables[name]["rate"][j]
        shares.append(tables[name]["phi"][i][j] / lowest_phi(p, q))
    return np.array(shares)


@exercise("2.4", "round au_centers(points, bp4d_aus) and count the different (2, 2) blocks with a set")
def _places_of_bp4d():
    return len({(ACTION_UNITS[au].points, ACTION_UNITS[au].shift) for au in AU_SETS["bp4d"]})


# 03


@exercise("3.1", "a part has 88 / 8 = 11 pixels a side; at the corner of the image only two sides have neighbours")
def _pixels_of_a_corner_part():
    return int((seen_pixels(patch_model((8,)), (0, 0), 8) > 0).sum())


@exercise("3.2", "go back one layer at a time: 11 + 1 cells of 44, twice as many pixels, one more, one more")
def _pixels_of_a_corner_part_behind_two():
    return int((seen_pixels(patch_model((8, 4)), (0, 0), 4) > 0).sum())


@exercise("3.3", "64 parts, each with its own 3×3 convolution from 64 to 64 channels: weights and biases")
def _weights_of_the_part_convolutions():
    return sum(p.numel() for p in PatchConv(32, 64, grid=8).part_conv.parameters())


# 04


@exercise("4.1", "each FeatConv ends in a 2×2 max-pooling that drops an odd last row: 44 // 2, and so on")
def _sides_behind_the_feat_convs():
    return tuple(44 >> k for k in (1, 2, 3))


@exercise("4.2", "sum(p.numel() for p in one FeatConv stack from 2 · 64 channels to 96, 128 and 160, without groups)")
def _parameters_of_a_shared_local_stack():
    model = LoRRaLConfig.paper()
    return sum(p.numel() for block in feat_stack(2 * model.patch_channels[-1], model.local_channels)
               for p in block.parameters())


@exercise("4.3", "a cell is 88 / 22 pixels wide and the window has 6 cells")
def _window_in_pixels():
    return 6 * 88 / 22


@exercise("4.4", "column 0 is read at cell 12.125 − 2.5; what lies between two cells is shared by nearness",
          tolerance=1e-3)
def _weight_of_cell_ten():
    return 1 - abs((50 + 0.5) * 22 / 88 - 0.5 - 2.5 - 10)


# ---- 05


@exercise("5.1", "a direction has 4 gates of h = D / 2 rows with D + h weights each, and two bias vectors of 4h")
def bilstm_parameters() -> int:
    with torch.random.fork_rng(devices=[]):
        return sum(p.numel() for p in BiLSTMRelation(160, 12).parameters())


@exercise("5.2", "the forward LSTM has read AU17 before it writes AU17 and everything after it: count from the list")
def forward_halves_that_hear_au17() -> int:
    return len(AU_SETS["bp4d"]) - AU_SETS["bp4d"].index(17)


@exercise("5.3", "from AU1 to AU24 the memory is multiplied by f eleven times: solve f^11 = 1/2", 2e-3)
def forget_gate_that_remembers() -> float:
    return 0.5 ** (1 / (len(AU_SETS["bp4d"]) - 1))


@exercise("5.4", "what was read forwards is now read backwards: do the two directions share their weights?")
def reversed_input_gives_reversed_output() -> bool:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        relation, tokens = BiLSTMRelation(4, 3), torch.arange(12.0).sin().view(1, 3, 4)
        return torch.allclose(relation(tokens.flip(1)), relation(tokens).flip(1))


@exercise("5.5", "sort the 66 pairs i < j by |phi|, largest first, and count among the first 10 those with j = i + 1")
def strongest_pairs_that_are_list_neighbours() -> int:
    phi = np.abs(Population("bp4d").expected_phi)
    pairs = sorted(zip(*np.triu_indices(len(phi), 1), strict=True), key=lambda pair: -phi[pair])
    return sum(int(j - i == 1) for i, j in pairs[:10])


# ---- 06


@exercise("6.1", "AU12 is at place 6 of the list, 0-based; feature 2 is even, so it is a sine with 2i = 2", 1e-3)
def position_of_au12() -> float:
    return position_encoding(12, 24)[AU_SETS["bp4d"].index(12), 2].item()


@exercise("6.2", "softmax: e to the power of each score, divided by their sum; no score makes a weight negative", 5e-3)
def weights_of_three_scores() -> np.ndarray:
    return torch.tensor([2.0, 0.0, -3.0]).softmax(0).numpy()


@exercise("6.3", "AU4 hears weight × value × (change of AU12): solve 0.2 · v · 2 = −1", 1e-3)
def value_that_excludes() -> float:
    return -1 / (0.2 * 2)


@exercise("6.4", "q·k is −6 to 6, so a score is −√6 to √6: one AU has the highest, eleven the lowest",
          2e-3)
def largest_weight_of_one_au() -> float:
    return torch.tensor([6**0.5] + [-(6**0.5)] * 11).softmax(0)[0].item()


# ---- 07


@exercise("7.1", "with patterns +1 and −1 the new state is (e^βξ − e^−βξ) / (e^βξ + e^−βξ) = tanh(βξ)", 1e-3)
def one_update_between_two_patterns() -> float:
    return hopfield_retrieve(torch.tensor([[0.5]]), torch.tensor([[1.0], [-1.0]]), beta=2.0).item()


@exercise("7.2", "call retrieval_rate(1024, β) for each of the four")
def smallest_beta_for_1024_patterns() -> float:
    return min(beta for beta in (0.05, 0.125, 0.25, 1.0) if retrieval_rate(1024, beta) >= 0.99)


@exercise("7.3", "one bit speaks for A and against B: their scores differ by 2β; take the softmax of two", 2e-3)
def weight_of_the_pattern_that_one_bit_favours() -> float:
    return torch.tensor([2.0, 0.0]).softmax(0)[0].item()


@exercise("7.4", "near 0, tanh(βξ) ≈ βξ: for which β does a small state grow instead of shrink?", 0.05)
def beta_that_tells_two_patterns_apart() -> float:
    patterns, state = torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.1]])
    grows = [b / 100 for b in range(50, 151) if hopfield_retrieve(state, patterns, b / 100, 300).item() > 0.1]
    return min(grows)


# 08


@exercise("8.1", "each point is 5 px off, so 49 × 25 is the sum of squares; divide by twice 50 squared",
          tolerance=0.0005)
def _landmark_loss_by_hand():
    truth = torch.zeros(1, 49, 2)
    truth[:, 25:31, 0] = 50  # the right eye, 50 px from the left one
    return float(landmark_loss(truth + torch.tensor([3.0, 4.0]), truth))


@exercise("8.2", "cumulate Schedule(gamma=0.5).at(epoch), divide by the total, count epochs until it reaches 0.999")
def _epochs_with_gamma_half():
    rates = [Schedule(gamma=0.5).at(epoch) for epoch in range(30)]
    return 1 + int(np.argmax(np.cumsum(rates) >= 0.999 * sum(rates)))


@exercise("8.3", "model.freeze_step1(train_landmarks=True), then look at requires_grad of every named_parameters()")
def _parts_that_learn_in_step_2():
    model = LoRRaL(LoRRaLConfig.lite(relation="mlp"))
    model.freeze_step1(train_landmarks=True)
    return {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}


@exercise("8.4", "each batch keeps 90 % of the old mean and adds 10 % of its own: find the first n with 0.9^n < 0.01")
def _batches_until_the_old_statistics_are_gone():
    return next(n for n in range(1, 1000) if 0.9**n < 0.01)


# 09


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


@exercise("9.4", "try minimum_detectable(n) of lorral_lite.statistics for growing n until it is at most 0.3")
def _people_for_a_small_gain():
    return next(n for n in range(3, 1000) if minimum_detectable(n) <= 0.3)


# 10


@exercise("10.1", "smallest p × 3, middle × 2, largest × 1, and none may be smaller than the one before",
          tolerance=0.0005)
def _holm_of_three():
    return holm([0.01, 0.04, 0.03])[0]


@exercise("10.2", "Population(relation_strength=0.5).expected_phi, at the places of AU 6 and 12 in .aus",
          tolerance=0.005)
def _phi_at_half_strength():
    people = Population(relation_strength=0.5)
    return float(people.expected_phi[people.aus.index(6), people.aus.index(12)])


@exercise("10.3", "draw many triples with np.random.default_rng(0).normal(size=(100_000, 3)); the mean of .max(1)",
          tolerance=0.02)
def _best_of_three_that_do_nothing():
    return 3 / (2 * np.sqrt(np.pi))


@exercise("10.4", "weights of (0, 1) and (1, 1) over the sum of all four; p₁ / (1 − p₁) is 1/19 now", tolerance=0.005)
def _hidden_au_beside_an_absent_one():
    prior, rates = np.array([0.45, 0.05, 0.10, 0.40]), np.array([0.50, 0.45])
    return joint_posterior(np.array([[0.05, 0.45]]), rates, prior)[0, 1]


@exercise("10.5", "there is no true positive, so the numerator of 2 tp / (2 tp + fp + fn) is …")
def _f1_of_never():
    return 0.0


# 11


@exercise("11.1", "one source pixel becomes 199 / (2 × 290) aligned pixels; right and down together are √2 of them",
          tolerance=0.01)
def _aligned_error_of_counting_from_one():
    face = np.zeros((49, 2))
    face[25:31, 0] = 200  # eye centres 200 apart: half the aligned square is 1.45 times that
    return float(np.linalg.norm(alignment(face, 200)[:, :2] @ [1.0, 1.0]))


@exercise("11.2", "a file counted from 0 is one behind the label lines; a file counted from 1 is not")
def _label_lines_of_two_namings():
    return tuple(122 - first + 1 for first in (0, 1))


@exercise("11.3", "sum(last - first + 1) over the stretches of each person; SN021 has eight of them")
def _frames_left_of_the_worst():
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["disfa"]
    return 4845 - max(sum(high - low + 1 for low, high in ranges) for ranges in golden["landmark_problem"].values())


@exercise("11.4", "rates = np.array(golden['positives']) / np.array(golden['frames']['all'])[:, None]; then np.ptp")
def _most_uneven_au():
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["bp4d"]
    rates = np.array(golden["positives"]) / np.array(golden["frames"]["all"])[:, None]
    return golden["aus"][int(np.ptp(rates, axis=0).argmax())]


@exercise("11.5", "every frame is trained on in two of the three folds: 2 × 146,847 frames × 30 epochs × 7 trainings",
          tolerance=0.1)
def _hours_of_one_seed():
    golden = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))["bp4d"]
    total = sum(golden["frames"]["all"])
    return sum(total - tested for tested in golden["frames"]["all"]) * 30 * (1 + 6) / 100 / 3600


# 12


@lru_cache(maxsize=1)
def _shipped_model():
    return load_model(data_file("weights", "faces_lite"), "self_attention", "cpu")


@exercise("12.1", "np.hypot of x1 − x2 and y1 − y2 of every point, its mean, divided by interocular(reference)",
          tolerance=0.02)
def _how_well_an_eye_repeats_itself():
    passes = np.loadtxt(data_file("protocol", "astronaut_49_passes.csv"), delimiter=",", skiprows=1)
    apart = np.hypot(passes[:, 1] - passes[:, 3], passes[:, 2] - passes[:, 4]).mean()
    return float(100 * apart / interocular(portrait()[1]))


@exercise("12.2", "two views lie at the mean of all ten, eight lie 6 px right or left and 6 px up or down of it", 0.2)
def _view_disagreement_of_the_blind():
    c = _shipped_model().config
    away = (c.frame_size - c.image_size) / 2
    return float(100 * 0.8 * away * 2**0.5 / interocular(mean_landmarks(_shipped_model())))


@exercise("12.3", "of 100 shown AUs, 95 or 70 are looked at and 80 % of these found; precision stays 0.8", 0.1)
def _f1_when_silence_is_a_miss():
    return [100 * 2 * 0.8 * r / (0.8 + r) for r in (0.8 * 0.95, 0.8 * 0.70)]


@exercise("12.4", "per person: true alarms 0.02 × 0.8, false alarms 0.98 × 0.05; the false ones over all", 0.005)
def _share_of_false_alarms():
    return 0.98 * 0.05 / (0.98 * 0.05 + 0.02 * 0.8)
