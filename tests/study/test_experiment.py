"""The experiment on relations: what it computes from its cells, and one small run that can be stopped and goes on."""

import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from lorral_lite.files import DataError, only_one, read_json
from lorral_lite.model.relations import RELATIONS
from lorral_lite.study import experiment
from lorral_lite.study.experiment import (
    HIDINGS,
    WORLDS,
    Size,
    all_gains,
    ceiling_gain,
    collect,
    modules_of,
    over_seeds,
    read_result,
    relation_gain,
    run_experiment,
    run_seed,
    select,
    summary,
    write_result,
)


def made_up(seeds: int = 5, effect: float = 0.0) -> dict:
    """A result in which self-attention gains ``effect`` × relation strength on hidden AUs, local output, and noise."""
    rng, cells = np.random.default_rng(0), []
    for hiding, hidden in HIDINGS.items():
        for strength, structure in WORLDS.values():
            for seed in range(seeds):
                level = rng.normal(60, 5)
                scores = {}
                for relation in RELATIONS:
                    f1 = level + rng.normal(0, 0.5, (2, 3))
                    if relation == "self_attention" and hidden:
                        f1[0, 1] += effect * strength
                    scores[relation] = {out: {"mean_f1": float(v.mean()), "f1": v.tolist()}
                                        for out, v in zip(("local", "au"), f1, strict=True)}
                part = {"alone": [50.0, 0.0, 60.0], "joint": [50.0 + seed, 30.0 * strength, 60.0]}
                phi = np.eye(3) + strength * np.array([[0, 0.5, 0.1], [0.5, 0, 0.2], [0.1, 0.2, 0]])
                cells.append({"hiding": hiding, "relation_strength": strength, "structure": structure, "seed": seed,
                              "aus": [4, 6, 12], "covered": list(hidden)[:1], "relations": scores,
                              "ceiling": {"local": part, "au": part},
                              "attention": (phi + rng.normal(0, 1e-3, (3, 3))).tolist(), "expected_phi": phi.tolist()})
    return {"cells": cells}


def test_the_interval_over_seeds_is_students():
    values = [1.0, 2.5, 0.5, 3.0, 1.5]
    found, oracle = over_seeds(values), stats.ttest_1samp(values, 0)
    assert_allclose((found.low, found.high), oracle.confidence_interval(0.95))
    assert_allclose(found.p, oracle.pvalue)


def test_gains_are_differences_within_a_seed():
    result = made_up()
    cells = select(result, "none", 0.5, "real")
    one, other = ([c["relations"][r]["local"]["f1"][1] for c in cells] for r in ("hopfield", "mlp"))
    assert_allclose(relation_gain(cells, "hopfield", "local", "mlp", au=6).value, np.mean(one) - np.mean(other))
    means = [c["relations"]["hopfield"]["au"]["mean_f1"] - c["relations"]["none"]["au"]["mean_f1"] for c in cells]
    assert_allclose(relation_gain(cells, "hopfield", "au").value, np.mean(means))
    assert [c["seed"] for c in cells] == [0, 1, 2, 3, 4]


def test_the_ceiling_is_the_joint_posterior_less_the_single_ones():
    cells = select(made_up(), "eyes", 1.0, "exclusion")
    assert_allclose(ceiling_gain(cells, "local", au=6).value, 30)
    assert_allclose(ceiling_gain(cells, "local").value, (2 + 30) / 3)  # seeds 0 to 4 add 0 to 4 to one AU of three


def test_at_strength_0_both_structures_are_the_same_cells():
    result = made_up()
    assert select(result, "none", 0.0, "exclusion") == select(result, "none", 0.0, "real") != []
    with pytest.raises(ValueError, match="no cell of hiding 'mouth'"):
        select(result, "mouth", 0.0, "real")


def test_a_true_gain_is_found_after_correction_and_noise_is_not():
    rows = all_gains(made_up(effect=30))
    found = {(r["hiding"], r["relation_strength"], r["relation"], r["output"]) for r in rows if r["verdict"] == "gain"}
    assert {("eyes", 1.0, "self_attention", "local"), ("eyes", 0.5, "self_attention", "local")} == found
    assert len(rows) == 2 * 2 * len(WORLDS) * len(modules_of(made_up()))
    assert all(r["verdict"] == "not told apart from 0" for r in all_gains(made_up(effect=0)))


@pytest.mark.parametrize(("place", "value"), [
    (("aus",), [1, 2, 2]), (("relations", "none", "au", "f1", 0), "5"), (("relations", "mlp", "au", "mean_f1"), 1e30),
    (("ceiling", "au", "joint"), [1.0]), (("attention", 0), [0.5]), (("expected_phi", 1, 2), None), (("seed",), "0"),
    (("structure",), "other"), (("relations",), {}), (("relations",), []),
])  # fmt: skip
def test_results_from_elsewhere_are_checked_when_they_are_read(tmp_path, place, value):
    path, result = tmp_path / "shared.json", {"data": "procedural faces", **made_up(1)}
    write_result(path, result)
    assert read_result(path) == result
    part = result["cells"][2]
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    write_result(path, result)
    with pytest.raises(DataError, match=r"shared\.json: a cell that is not one of an experiment"):
        read_result(path)


def test_results_without_cells_are_refused(tmp_path):
    (tmp_path / "shared.json").write_text('{"cells": []}')
    with pytest.raises(DataError, match=r"shared\.json: holds no cells of an experiment"):
        read_result(tmp_path / "shared.json")


def test_an_experiment_of_another_size_is_not_mixed_in(tmp_path):
    (tmp_path / "settings.json").write_text('{"subjects": 5, "frames": 4, "step1_frames": 4, "epochs": null}')
    with pytest.raises(DataError, match="holds an experiment of another size"):
        run_experiment(tmp_path, 1, Size(9, 6, 6), progress=False)


@pytest.mark.slow
def test_a_failed_cell_is_one_line_and_the_others_go_on(tmp_path):
    (tmp_path / "eyes").write_text("a file where a folder is needed")
    said = []
    with pytest.raises(DataError, match="1 of 2 cells failed"):
        run_experiment(tmp_path, 1, Size(9, 4, 4, 1), jobs=1, progress=False, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("eyes, seed 0: failed (")
    assert len(list((tmp_path / "none" / "seed0").glob("*.json"))) == len(WORLDS)


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "WORLDS", {k: WORLDS[k] for k in ("strength0", "strength1_exclusion")})
    monkeypatch.setattr(experiment, "HIDINGS", {"eyes": (6, 7)})
    monkeypatch.setattr(experiment, "pattern_probabilities", lambda people: np.full(4096, 1 / 4096))
    size = Size(9, 6, 6, epochs=1)
    assert run_seed(tmp_path, "eyes", 0, size) == 2
    first = {file.name: read_json(file) for file in (tmp_path / "eyes" / "seed0").glob("*.json")}
    assert run_seed(tmp_path, "eyes", 0, size) == 0  # nothing is computed twice
    for name in first:
        (tmp_path / "eyes" / "seed0" / name).unlink()
    assert run_seed(tmp_path, "eyes", 0, size) == 2
    for name, cell in first.items():
        again = read_json(tmp_path / "eyes" / "seed0" / name)
        assert {**again, "seconds": 0} == {**cell, "seconds": 0}
        assert set(cell["relations"]) == set(RELATIONS)
        assert cell["covered"] == [6, 7]
        assert_allclose(np.sum(cell["attention"], axis=1), 1, atol=1e-3)
    one, other = first["strength0.json"], first["strength1_exclusion.json"]
    assert one["relation_strength"] == 0
    assert_allclose(np.array(one["expected_phi"]), np.eye(12))
    assert other["expected_phi"] != one["expected_phi"]
    assert one["landmark_nme_percent"] != other["landmark_nme_percent"]  # other faces of the same people, same step 1
    (tmp_path / "settings.json").write_text('{"subjects": 9, "frames": 6, "step1_frames": 6, "epochs": 1}')
    found = collect(tmp_path, 1)
    assert len(found["cells"]) == 2
    write_result(tmp_path / "result.json", found)
    assert read_result(tmp_path / "result.json") == found
    place = tmp_path / "eyes" / "seed0"
    (place / "strength0_data").mkdir()  # as when a kill came after the figures were written
    assert run_seed(tmp_path, "eyes", 0, size) == 0
    assert not (place / "strength0_data").exists()
    shutil.copy(place / "strength1_exclusion.json", place / "strength0.json")
    with pytest.raises(DataError, match=r"strength0\.json: of eyes, seed 0, strength 1.0 exclusion; remove it"):
        collect(tmp_path, 1)


def test_one_experiment_at_a_time(tmp_path):
    with only_one(tmp_path, "experimenting in"), pytest.raises(DataError, match="another process is experimenting"):
        run_experiment(tmp_path, 1, Size(9, 6, 6), progress=False)


def test_a_module_that_lacks_a_cell_is_in_no_comparison():
    result = made_up(seeds=2)
    del result["cells"][-1]["relations"]["hopfield"]
    assert "hopfield" not in modules_of(result)
    assert not any(row["relation"] == "hopfield" for row in all_gains(result))
    assert summary(result).splitlines()[-1] == "not in every cell, so left out: hopfield"
