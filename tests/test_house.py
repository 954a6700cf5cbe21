"""The order of the house: a file imports only from files earlier in the list, and the exact layers stay short."""

import ast
import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import lorral_lite

HOUSE = Path(lorral_lite.__file__).parent
ORDER = [
    "cores", "device", "output", "tolerance", "data_files", "facs", "landmarks", "faces", "datasets", "layers",
    "relations", "model",
    "readings", "losses", "metrics", "statistics", "ceiling", "run_folder", "evaluation", "baselines",
    "feature_cache", "training",
    "figures", "predict", "skin_tones", "published", "run_results", "comparison",
    "report_page", "report_tables", "reporting", "widgets", "parameters", "exercises", "model_card",
    "grid", "cost", "jobs", "reproduce", "experiment", "experiment_figures", "result_blocks", "bench",
    "cli",
]  # fmt: skip
ORDER_INSIDE = {
    "faces": ["anatomy", "expression", "drawing", "head", "render", "population"],
    "layers": ["patch_conv", "feat_conv", "au_crops"],
    "datasets": [
        "writing", "prepared", "folds", "videos", "preparing", "stand_in", "looking", "bp4d", "disfa", "checking",
    ],
    "relations": ["identity", "bilstm", "self_attention", "hopfield", "series"],
}
FILES = sorted(HOUSE.rglob("*.py"))
MOST_LINES = {"layers": 150, "relations": 150, "model.py": 250, "training.py": 350}


def imports(file: Path, house: Path = HOUSE) -> list[tuple[str, ...]]:
    """What a file imports of the house: ``from .layers.au_crops import x`` is (layers, au_crops, x)."""
    package = file.relative_to(house).parent.parts
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found += [tuple(name[1:]) for name in names if name[0] == "lorral_lite"]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:
                module = [*package[: len(package) - node.level + 1], *module]
            elif module[0] == "lorral_lite":
                module = module[1:]
            else:
                continue
            found += [(*module, alias.name) for alias in node.names]
    return [name for name in found if name]


def violations(file: Path, house: Path = HOUSE) -> list[str]:
    parts = file.relative_to(house).with_suffix("").parts
    wrong = []
    for name in imports(file, house):
        if name[0] not in ORDER:
            known = name[0].startswith("__")  # such as __version__
            wrong += [] if known else [f"{file.name} imports {'.'.join(name)}, which has no place in the house"]
        elif ORDER.index(name[0]) > ORDER.index(parts[0]):
            wrong.append(f"{file.name} imports {name[0]}, which comes after {parts[0]}")
        elif name[0] == parts[0] and len(parts) > 1 and len(name) > 1:
            inside = ORDER_INSIDE.get(parts[0], [])
            if parts[1] in inside and name[1] in inside and inside.index(name[1]) >= inside.index(parts[1]):
                wrong.append(f"{parts[0]}/{file.name} imports {name[1]}, which comes after it")
    return wrong


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(HOUSE)))
def test_every_file_imports_only_from_earlier_files(file):
    if file.parent == HOUSE and file.name in ("__init__.py", "__main__.py"):
        pytest.skip("the front door sees the whole house")
    place = file.relative_to(HOUSE).with_suffix("").parts[0]
    assert place in ORDER, f"{place} has no place in the house"
    assert violations(file) == []


@pytest.mark.parametrize(
    ("place", "line", "found"),
    [
        ("layers/patch_conv.py", "from ..relations import make_relation", "imports relations, which comes after"),
        ("layers/patch_conv.py", "from .au_crops import AUCrops", "imports au_crops, which comes after it"),
        ("model.py", "from lorral_lite.training import train", "imports training, which comes after model"),
        ("model.py", "import lorral_lite.cli", "imports cli, which comes after model"),
        ("facs.py", "from . import landmarks", "imports landmarks, which comes after facs"),
        ("cli.py", "from .helpers import x", "which has no place in the house"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, place, line, found):
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"import torch\n\n\ndef late():\n    {line}\n")
    assert len(wrong := violations(file, tmp_path)) == 1
    assert found in wrong[0]


def test_every_choice_that_the_code_cites_has_one_line_in_deviations():
    """D1, D2, …: each number has one row, and a code line cites no number without a row."""
    rows = re.findall(r"^\| (D\d+) \|", (HOUSE.parent / "DEVIATIONS.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(set(rows)) > 80
    cited = {number: file.name for file in FILES for number in re.findall(r"\bD[1-9]\d{0,2}\b",
                                                                         file.read_text(encoding="utf-8"))}
    assert {number: file for number, file in cited.items() if number not in rows} == {}


@pytest.mark.parametrize("place", MOST_LINES)
def test_layers_relations_model_and_training_stay_short(place):
    path = HOUSE / place
    for file in [path] if path.suffix else path.glob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) < MOST_LINES[place], file.name


@pytest.mark.parametrize("file", [HOUSE / p / f"{f}.py" for p in ("layers", "relations") for f in ORDER_INSIDE[p]])
def test_the_examples_of_layers_and_relations_run(file):
    module = import_module(f"lorral_lite.{file.parent.name}.{file.stem}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", lorral_lite.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(lorral_lite, name) is not None
    assert name in dir(lorral_lite)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lorral_lite' has no attribute 'LoRRaLL'"):
        _ = lorral_lite.LoRRaLL
