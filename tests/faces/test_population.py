"""Who shows what: rates, relations, subjects, bouts and intensities against oracles and the published statistics."""

import json

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import matthews_corrcoef

from lorral_lite.faces import AUS, render_faces
from lorral_lite.faces.correlation import bouts, lowest_phi, phi, smoothed
from lorral_lite.faces.coverings import OCCLUDERS
from lorral_lite.faces.population import DIFFICULTIES, EXCLUSION_PAIRS, FAINTNESS, Population
from lorral_lite.files import data_file

PROFILES = ("bp4d", "disfa")
REAL = json.loads(data_file("protocol", "au_statistics.json").read_text(encoding="utf-8"))
PHI_TOLERANCE = {"bp4d": 0.03, "disfa": 0.06}
DRAWS = 100_000


def off_diagonal(matrix):
    return np.asarray(matrix)[~np.eye(len(matrix), dtype=bool)]


@pytest.fixture(scope="module", params=PROFILES)
def moving(request):
    """A population, and clips of 2,000 frames of 400 subjects."""
    population = Population(request.param, seed=3)
    return population, population.clips(400, 2000)


# --- phi, lowest_phi and bouts ---


def test_phi_is_matthews_correlation_with_unknown_labels_left_out():
    random = np.random.default_rng(0)
    labels = random.choice([-1, 0, 1], size=(7, 60, 3), p=[0.2, 0.5, 0.3])
    labels[..., 2] = np.where(random.random((7, 60)) < 0.6, labels[..., 0], labels[..., 2])
    flat = labels.reshape(-1, 3)
    for i in range(3):
        for j in range(3):
            known = (flat[:, i] >= 0) & (flat[:, j] >= 0)
            assert phi(labels)[i, j] == pytest.approx(matthews_corrcoef(flat[known, i], flat[known, j]), abs=1e-12)


def test_phi_of_a_constant_au_is_not_a_number():
    assert np.isnan(phi([[1, 0], [1, 1], [1, 0]])).tolist() == [[True, True], [True, False]]


def test_lowest_phi_is_reached_by_labels_that_meet_as_rarely_as_they_can():
    for ones_a, ones_b in ((3, 5), (12, 15), (10, 10)):  # of 20 frames: apart, forced to meet, complements
        a, b = np.zeros(20, int), np.zeros(20, int)
        a[:ones_a], b[20 - ones_b:] = 1, 1
        assert lowest_phi(ones_a / 20, ones_b / 20) == pytest.approx(phi(np.stack([a, b], 1))[0, 1])
    assert lowest_phi(0.5, 0.5) == -1
    assert lowest_phi(np.array([0.2, 0.3]), 0.5).shape == (2,)


def test_bouts_are_the_runs_that_a_loop_counts():
    labels = np.random.default_rng(1).choice([-1, 0, 1], size=(5, 40, 2), p=[0.1, 0.4, 0.5])
    for au, found in enumerate(bouts(labels)):
        by_hand = []
        for clip in labels[..., au]:
            run = 0
            for label in [*clip, 0]:
                if label == 1:
                    run += 1
                elif run:
                    by_hand.append(run)
                    run = 0
        assert sorted(found) == sorted(by_hand)


# --- rates and relations ---


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("arguments", [
    {}, {"relation_strength": 0.0}, {"relation_strength": 0.5},
    {"structure": "cooccurrence"}, {"structure": "exclusion"},
])
def test_draws_have_the_real_rates_and_the_phi_that_is_said(profile, arguments):
    population = Population(profile, seed=1, **arguments)
    np.testing.assert_array_equal(np.diag(population.latent_correlation), 1)
    np.linalg.cholesky(population.latent_correlation)
    labels = population.draw(DRAWS)
    assert labels.shape == (DRAWS, len(REAL[profile]["aus"]))
    assert labels.dtype == np.int8
    np.testing.assert_allclose(labels.mean(0), REAL[profile]["rate"], atol=0.01)
    np.testing.assert_allclose(phi(labels), population.expected_phi, atol=0.02)


@pytest.mark.parametrize("profile", PROFILES)
def test_strength_scales_the_real_relations(profile):
    whole = Population(profile)
    np.testing.assert_allclose(whole.expected_phi, REAL[profile]["phi"], atol=PHI_TOLERANCE[profile])
    for strength in (0.0, 0.5):
        scaled = strength * off_diagonal(whole.latent_correlation)
        np.testing.assert_allclose(off_diagonal(Population(profile, strength).latent_correlation), scaled, atol=1e-12)


@pytest.mark.parametrize("profile", PROFILES)
def test_strength_above_one_is_refused_with_the_largest_admissible_value(profile):
    message = r"^relation_strength must be between 0 and 1, got 1\.5; the largest admissible value is 1, "
    with pytest.raises(ValueError, match=message + rf".*{profile}.*exist above 1\.\d\d\d\)$"):
        Population(profile, 1.5)
    population = Population(profile)
    identity = np.eye(len(population.aus))
    offs = np.array(REAL[profile]["latent_correlation"]) - identity
    np.linalg.cholesky(identity + 0.9999 * population.largest_strength * offs)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(identity + 1.0001 * population.largest_strength * offs)


@pytest.mark.parametrize("profile", PROFILES)
def test_cooccurrence_has_no_negative_pair_and_keeps_the_positive_ones(profile):
    population = Population(profile, structure="cooccurrence")
    real = np.array(REAL[profile]["latent_correlation"])
    np.testing.assert_allclose(population.latent_correlation[real < 0], 0, atol=1e-6)
    change = population.describe()["largest_phi_change_by_repair"]
    assert change <= 0.03
    kept, expected = real >= 0, Population(profile).expected_phi
    np.testing.assert_allclose(population.expected_phi[kept], expected[kept], atol=change + 1e-4)


def test_in_the_world_of_copies_one_pair_is_as_good_as_one_au_and_no_other_is_related():
    population = Population(structure="copy", seed=5)
    realised, pair = phi(population.draw(DRAWS)), [population.aus.index(au) for au in (7, 12)]
    others = ~np.eye(len(realised), dtype=bool)
    others[np.ix_(pair, pair)] = False
    assert realised[tuple(pair)] == pytest.approx(population.expected_phi[tuple(pair)], abs=0.02)
    assert realised[tuple(pair)] > 0.88
    np.testing.assert_allclose(population.expected_phi[others], 0, atol=1e-9)
    np.testing.assert_allclose(realised[others], 0, atol=0.02)
    with pytest.raises(ValueError, match='structure "copy" needs AU 7 and 12: choose the profile "bp4d"'):
        Population("disfa", structure="copy")


@pytest.mark.parametrize("profile", PROFILES)
def test_exclusion_pushes_the_named_pairs_near_the_lowest_phi(profile):
    population = Population(profile, structure="exclusion", seed=5)
    realised = phi(population.draw(DRAWS))
    for pair in EXCLUSION_PAIRS[profile]:
        i, j = (population.aus.index(au) for au in pair)
        lowest = lowest_phi(population.rates[i], population.rates[j])
        assert population.expected_phi[i, j] == pytest.approx(0.9 * lowest, abs=1e-4)
        assert lowest <= realised[i, j] < 0.85 * lowest
    real = Population(profile).expected_phi
    for name, change in population.describe()["phi_changed_by_repair"].items():  # beside the pairs asked for
        i, j = (population.aus.index(int(au)) for au in name.split("-"))
        assert population.expected_phi[i, j] - real[i, j] == pytest.approx(change, abs=1e-3)


# --- subjects ---


@pytest.mark.parametrize("profile", PROFILES)
def test_subjects_differ_as_the_real_ones(profile):
    population = Population(profile, seed=6)
    labels = population.subjects(1000, 200).labels
    spread = labels.mean(1).std(0)
    np.testing.assert_allclose(spread / REAL[profile]["subject_rate_sd"], 1, atol=0.2)
    np.testing.assert_allclose(population.subject_rate_sd, REAL[profile]["subject_rate_sd"], atol=1e-4)
    np.testing.assert_allclose(labels.mean((0, 1)), REAL[profile]["rate"], atol=0.025)
    np.testing.assert_allclose(phi(labels), population.expected_phi, atol=0.06)


def test_without_subject_effects_subjects_differ_by_chance_only():
    population = Population("bp4d", subject_effects=False)
    spread = population.subjects(500, 200).labels.mean(1).std(0)
    np.testing.assert_allclose(spread, np.sqrt(population.rates * (1 - population.rates) / 200), rtol=0.12)
    assert not population.subject_rate_sd.any()


# --- clips ---


def test_clips_have_the_real_median_bout_and_keep_rates_and_relations(moving):
    population, clips = moving
    real = REAL[population.profile]
    median = np.array([np.median(runs) for runs in bouts(clips.labels)])
    np.testing.assert_allclose(median / real["bout_frames_median"], 1, atol=0.25)
    np.testing.assert_allclose(clips.labels.mean((0, 1)), real["rate"], atol=0.035)
    np.testing.assert_allclose(phi(clips.labels), population.expected_phi, atol=0.1)


def test_the_latent_process_of_clips_starts_stationary():
    noise = np.random.default_rng(7).standard_normal((40_000, 5))
    np.testing.assert_allclose(smoothed(noise, 8).var(0), 1, atol=0.03)


# --- intensities ---


def test_labels_follow_the_rule_of_the_profile():
    bp4d, disfa = Population("bp4d"), Population("disfa")
    latent = bp4d.latent(20_000)
    intensity = bp4d.intensity(latent)
    np.testing.assert_array_equal(bp4d.labels(latent), intensity > 0)
    assert intensity[intensity > 0].min() >= 0.2
    latent = disfa.latent(20_000)
    intensity = disfa.intensity(latent)
    np.testing.assert_array_equal(disfa.labels(latent), intensity >= 0.4)
    traces = (intensity > 0) & (intensity < 0.4)
    assert intensity[traces].min() >= 0.2
    np.testing.assert_allclose(traces.mean(0), 0.5 * disfa.rates, atol=0.01)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("profile", PROFILES)
def test_each_au_has_its_share_of_faint_frames(profile, difficulty):
    population = Population(profile, difficulty=difficulty)
    start = 0.4 if profile == "disfa" else 0.2
    intensity = population.intensity(population.latent(DRAWS))
    for a, au in enumerate(population.aus):
        k = FAINTNESS[au] * DIFFICULTIES[difficulty][0]
        shown = intensity[:, a][intensity[:, a] >= start]
        middle = start + (1 - start) / 2
        # half of the way up is passed where v^k > 1/2; the labelled frames are at least 4,000, so 0.03 is 3.8 sigma
        assert (shown < middle).mean() == pytest.approx(0.5 ** (1 / k), abs=0.03)
        assert shown.max() <= 1


@pytest.mark.parametrize("profile", PROFILES)
def test_unrest_moves_only_what_is_not_shown_and_stays_below_a_trace(profile):
    population = Population(profile)
    intensity = population.intensity(population.latent(20_000))
    own = [AUS.index(au) for au in population.aus]
    faces = population.to_render(intensity, unrest=0.18, seed=5)[:, own]
    np.testing.assert_array_equal(faces[intensity > 0], intensity[intensity > 0])
    still = faces[intensity == 0]
    assert still.max() < 0.18
    assert kstest(still / 0.18, "uniform").statistic < 0.01
    assert (faces != population.to_render(intensity, unrest=0.18, seed=6)[:, own]).any()


def test_to_render_puts_every_au_at_its_place():
    faces = Population("disfa").to_render(np.arange(1, 9, dtype=float).reshape(1, 1, 8) / 10)
    placed = {au: round(float(value), 6) for au, value in zip(AUS, faces[0, 0], strict=True) if value}
    assert placed == {1: 0.1, 2: 0.2, 4: 0.3, 6: 0.4, 9: 0.5, 12: 0.6, 25: 0.7, 26: 0.8}


@pytest.mark.parametrize("profile", PROFILES)
def test_distractors_are_rare_unlabelled_and_possible(profile):
    population = Population(profile)
    intensity = population.intensity(population.latent(20_000))
    faces = population.to_render(intensity, distractors=0.05, seed=8)
    own = [AUS.index(au) for au in population.aus]
    np.testing.assert_array_equal(faces[:, own], intensity)
    column = {au: faces[:, i] for i, au in enumerate(AUS)}
    assert (column[5] > 0).mean() == pytest.approx(0.05, abs=0.01)
    assert column[5][column[5] > 0].min() >= 0.2
    assert not column[43].any()
    if profile == "bp4d":
        assert (column[25] >= column[26]).all()
        assert not column[25][column[24] > 0].any()
        assert column[26].any()
    np.testing.assert_array_equal(faces, population.to_render(intensity, distractors=0.05, seed=8))


# --- what is hidden, what is true ---


def test_hidden_names_the_occluders_and_all_they_cover():
    population = Population("bp4d", hidden=(4, 12))
    assert population.occluders == ("fringe", "mask")
    assert population.covered == (1, 2, 4, 10, 12, 14, 15, 17, 23, 24)
    assert population.covers() == {"occluder": "fringe+mask"}
    assert Population("bp4d").covers() == {}
    assert sorted(au for aus in OCCLUDERS.values() for au in aus) == list(AUS)
    assert render_faces({}, 64, **population.covers()).occluders.any()
    np.testing.assert_array_equal(population.draw(50), Population("bp4d").draw(50))


def test_describe_is_the_truth_in_json():
    population = Population("disfa", 0.5, "exclusion", seed=9)
    labels = population.draw(2000)
    labels[:, 0] = 0
    truth = json.loads(json.dumps(population.describe(labels)))
    assert truth["exclusion_pairs"] == [[4, 12], [4, 25]]
    np.testing.assert_allclose(truth["latent_correlation"], population.latent_correlation, atol=1e-4)
    np.testing.assert_allclose(truth["expected_phi"], population.expected_phi, atol=1e-4)
    assert truth["realised_phi"][0] == [None] * 8
    np.testing.assert_allclose(truth["realised_phi"][1][1:], phi(labels)[1, 1:], atol=1e-4)


# --- the same again ---


@pytest.mark.parametrize("draw", [lambda p: p.draw(30), lambda p: p.subjects(4, 9).intensity])
def test_the_seed_decides(draw):
    first, again, other = (Population(seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(draw(first), draw(again))
    assert (draw(first) != draw(other)).any()


def test_a_subject_does_not_depend_on_how_many_are_drawn(moving):
    population, clips = moving
    whole, block = population.subjects(6, 9), population.subjects(2, 9, first=4)
    np.testing.assert_array_equal(whole.intensity[4:], block.intensity)
    np.testing.assert_array_equal(clips.intensity[:2], population.clips(2, 2000).intensity)


@pytest.mark.parametrize(("call", "message"), [
    (lambda p: Population("ck"), r"^profile must be one of bp4d, disfa, got 'ck'$"),
    (lambda p: Population(seed=-1), r"^seed must be a whole number from 0 to 6442450943, got -1$"),
    (lambda p: Population(hidden=(9,)), r"^hidden must be different AUs of bp4d \(1, 2, 4, .*\), got \(9,\)$"),
    (lambda p: p.subjects(5, 1.5), r"^frames must be a whole number from 1 to 2147483647, got 1.5$"),
    (lambda p: p.to_render(np.zeros((3, 8))), r"^intensity must be \(\.\.\., 12\) for bp4d, got \(3, 8\)$"),
    (lambda p: p.to_render(np.full((3, 12), np.nan)), r"^intensity must lie between 0 and 1$"),
    (lambda p: p.to_render(np.zeros((3, 12)), distractors=0.7), r"^distractors must lie between 0 and 0.5, got 0.7$"),
    (lambda p: p.to_render(np.zeros((3, 12)), unrest=0.2),
     r"^unrest must lie between 0 and 0.2, the faintest that is coded, got 0.2$"),
    (lambda p: phi([[2, 0]]), r"^labels must be an array of 1, 0 and -1 \(unknown\)$"),
])
def test_bad_calls_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(Population())
