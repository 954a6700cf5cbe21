"""The list of mutants fits the code: each line stands there once, each mutant is Python, none is missing a test."""

import ast
from collections import Counter

import pytest
from mutants import MUTANTS, ROOT, TESTS, copy_of_the_house, mutate, replay

PACKAGE = ROOT / "lorral_lite"


@pytest.mark.parametrize(("file", "old", "new"), MUTANTS, ids=lambda value: value[:60])
def test_the_line_stands_there_once_and_the_mutant_is_another_program(file, old, new):
    source = (PACKAGE / file).read_text(encoding="utf-8")
    mutant = mutate(source, old, new)
    assert ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(source))
    assert all((ROOT / "tests" / name).is_file() for name in TESTS[file].split())


def test_every_layer_and_relation_has_at_least_three():
    count = Counter(file for file, *_ in MUTANTS)
    parts = {p.relative_to(PACKAGE).as_posix() for p in (PACKAGE / "model").rglob("*.py") if p.name != "__init__.py"}
    parts |= {"measure/metrics.py", "landmarks.py", "training/config.py", "training/steps.py"}
    for file in sorted(parts):
        assert count[file] >= 3, file
    assert len(set(MUTANTS)) == len(MUTANTS)


@pytest.mark.slow
def test_the_package_itself_is_never_mutated(tmp_path):
    """One mutant from end to end: killed in the copy, and the copy is whole again."""
    folder = tmp_path.resolve() / "house"
    copy_of_the_house(folder)
    file, old, new = MUTANTS[0]
    before = (PACKAGE / file).read_bytes()
    jobs = [(file, TESTS[file], None, None), (file, TESTS[file], old, new)]
    assert replay(jobs, [folder], "spawn") == [0, 1]
    assert (PACKAGE / file).read_bytes() == before == (folder / "lorral_lite" / file).read_bytes()
