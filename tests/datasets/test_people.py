"""One person has one name and one face: wherever a prepared folder is made, opened or cut into folds."""

import json
import unicodedata

import numpy as np
import pytest
from preparations import QUIET
from test_table import faces, own, save  # noqa: F401 - a fixture

from lorral_lite.cli import main
from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.people import person_key
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.stand_in import write_image
from lorral_lite.datasets.table import MOST_PEOPLE, prepare_table
from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.files import DataError

ALIKE = {
    "capitals": ["F001", "f001"], "zeros": ["F001", "F1"], "numbers": ["1", "01", "1.0", "1,0", "١", "1E0"],
    "spaces": ["Ann B", "Ann  B", "Ann\u00a0B", " Ann B\t", "AnnB"],
    "Unicode": [unicodedata.normalize("NFC", "José"), unicodedata.normalize("NFD", "José")],
    "accents": ["José", "Jose"], "mojibake": ["José", "José".encode().decode("cp1252")], "width": ["F001", "Ｆ００１"],
    "hyphens": ["A-1", "A\u20111", "A\u22121", "A_1", "A—1"], "invisible": ["Ann", "\ufeffAnn", "Ann\u200b", "Ann\0"],
    "apostrophes": ["O'Brien", "O’Brien", "OʼBrien"], "Cyrillic": ["C01", "С01"], "ß": ["Strauß", "STRAUSS"],
    "Turkish": ["Işık", "IŞIK"], "ligature": ["ﬁnn", "Finn"],
}
APART = ["F001", "F010", "F01a", "1-12", "11-2", "112", "1.5", "15", "राम", "रामा", "たか", "たが", "Ann", "Anna",
         "山田", "山本", "???", "!!!", "P0", "P", "9" * 5000, "9" * 5001]


@pytest.mark.parametrize("kind", ALIKE)
def test_names_that_look_alike(kind):
    assert len({person_key(name) for name in ALIKE[kind]}) == 1


def test_names_of_different_people():
    assert len({person_key(name) for name in APART}) == len(APART)


def write(path, people, frames=None, **meta):
    frames = np.random.default_rng(0).integers(0, 256, (len(people), 20, 20, 3)) if frames is None else frames
    with PreparedWriter(path, 20, (1, 4), {"source": "test", **meta}) as writer:
        writer.append([(name, "T", k) for k, name in enumerate(people)], frames, np.zeros((len(people), 49, 2)),
                      np.zeros((len(people), 2)))
    return open_prepared(path)


def test_no_folder_is_written_with_one_person_under_two_names(tmp_path):
    with pytest.raises(DataError, match=r"one person under two names\? 'S1' .* and 's1'"):
        write(tmp_path / "p", ["S1", "S2", "s1"])
    with pytest.raises(DataError, match="names no person"):
        write(tmp_path / "p", ["S1", "\u200b"])
    assert not list(tmp_path.iterdir())
    assert write(tmp_path / "p", ["S1", "S2", "s1"], distinct=[["s1", "S1"]]).meta["subjects"] == 3


@pytest.mark.parametrize(("text", "said"), [
    ("s1", r"'S1' \(row 2\) and 's1' \(row 4\)\. .* add \"distinct\": \[\[\"A\", \"B\"\]\] to meta\.json"),
    ("S  1", r"'S1' \(row 2\) and 'S\\x20\\x201' \(row 4\)"), (" ", "row 4 names no person"),
])
def test_no_folder_is_opened_with_one_person_under_two_names(tmp_path, text, said):
    index = write(tmp_path / "p", ["S1", "S2", "S3"]).path / "index.csv"
    index.write_text(index.read_text().replace("S3", text))
    with pytest.raises(DataError, match=said):
        open_prepared(tmp_path / "p")


@pytest.mark.parametrize("distinct", ["S1", [1], [["S1"]], [["S1", 1]], {"S1": "s1"}, None])
def test_distinct_people_are_pairs_of_names(tmp_path, distinct):
    meta = write(tmp_path / "p", ["S1", "S2"]).path / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "distinct": distinct}))
    with pytest.raises(DataError, match="must be pairs of names"):
        open_prepared(tmp_path / "p")


# --- tables


@pytest.fixture
def table(faces, tmp_path):  # noqa: F811
    """A function: names of its subjects → a table of our own, a picture for each row."""
    for k, picture in enumerate(faces[0]):
        write_image(tmp_path / "rec" / f"{k}.png", picture)

    def make(*names):
        head, *rows = own(faces[1], subject=["x"] * 4)
        named = ([rows[k % 4][0], name, *rows[k % 4][2:]] for k, name in enumerate(names))
        return save(tmp_path / "t.csv", [head, *named])
    return make


def test_a_table_with_one_person_under_two_names_is_refused_before_the_work(table, tmp_path):
    for names in ALIKE.values():
        if len({name.strip() for name in names}) > 1:
            with pytest.raises(DataError, match=r"t\.csv: one person under two names.*--distinct A B"):
                prepare_table(tmp_path / "out", table(*names[:2]), **QUIET)
    assert {path.name for path in tmp_path.iterdir()} == {"rec", "t.csv"}


def test_two_people_of_nearly_one_name(table, tmp_path, capsys):
    path, out = str(table("Ann", "ann", "Ben")), tmp_path / "out"
    command = ["prepare", "table", path, str(out), "--size", "32", "--quiet"]
    assert main(command) == 2
    assert "'Ann' (row 2) and 'ann' (row 3)" in capsys.readouterr().err
    assert main([*command, "--distinct", "Ann", "anne"]) == 2
    assert "--distinct anne: nobody is called that; there are Ann, Ben, ann" in capsys.readouterr().err
    assert main([*command, "--distinct", "ann", "Ann"]) == 0
    assert capsys.readouterr().out.startswith("people: 3\n  Ann: 1 frame\n  Ben: 1 frame\n  ann: 1 frame\n")
    assert open_prepared(out).meta["distinct"] == [["Ann", "ann"]]
    with pytest.raises(DataError, match="'ANN'"):  # the other pairs of three names are not confirmed
        prepare_table(tmp_path / "o", table("Ann", "ann", "ANN"), distinct=[("Ann", "ann")], **QUIET)


def test_names_that_nobody_can_type_are_confirmed_by_their_codes(table, tmp_path):
    names = ALIKE["Unicode"]
    folder = prepare_table(tmp_path / "out", table(*names), distinct=[(r"Jos\xe9", r"Jose\u0301")], size=32, **QUIET)
    assert sorted(folder.subjects) == sorted(names)


def test_the_people_of_a_table_are_printed_but_not_hundreds(table, tmp_path):
    heard = []
    prepare_table(tmp_path / "out", table(*(f"P{k:02d}" for k in range(60))), size=32,
                  **{**QUIET, "say": heard.append})
    assert heard[:2] == ["people: 60", "  P00: 1 frame"]
    assert heard[MOST_PEOPLE + 1] == "  … and 40 more"


def test_a_name_with_a_character_that_is_not_seen_is_refused(table, tmp_path):
    with pytest.raises(DataError, match=r"the name \\x1b\[31m holds a character that is not seen"):
        prepare_table(tmp_path / "out", table("Ann", "\x1b[31m"), size=32, **QUIET)
    assert not (tmp_path / "out").exists()


# --- faces


def test_a_face_that_two_people_share_is_named_and_never_parted(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (6, 20, 20, 3))
    frames[5] = frames[1] = frames[0]
    frames[3] = frames[2]  # a person's own double
    frames[4, 10] = frames[2, 10]  # a line in common is no face in common
    folder = write(tmp_path / "p", list("aabbcc"), frames)
    assert [rows.tolist() for rows in folder.same_faces] == [[0, 1, 5]]
    outcomes = []
    for fold in (1, 2, 3):
        try:
            outcomes.append(set(folder.subjects[fold_rows(folder, fold)[1]]))
        except DataError as error:
            outcomes.append(str(error).partition("index.csv: ")[2])
    assert {"b"} in outcomes
    assert any("1 test faces are byte for byte those of training people, such as row 7 (c) and row 2 (a)" in said
               for said in outcomes)
    assert sum(isinstance(said, str) for said in outcomes) == 2


def test_black_faces_of_two_people_count_too(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3))
    frames[[0, 3]] = 0
    with pytest.raises(DataError, match="1 test faces are byte for byte"):
        fold_rows(write(tmp_path / "p", list("aabb"), frames), 1, 2)


def test_preparing_says_which_faces_two_people_share(table, tmp_path):
    heard = []
    prepare_table(tmp_path / "out", table(*"aaaabbbb"), size=32, **{**QUIET, "say": heard.append})
    assert "8 faces are byte for byte the same under several names, such as row 2 (a) and row 6 (b)" in heard[-1]
