"""The site: links lead somewhere, pictures have words, formulas are MathML, nothing comes from the network."""

import re
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_site  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """{page: its parsed HTML}, and the folder under "folder"."""
    out = tmp_path_factory.mktemp("site")
    (out / "old.html").touch()
    build_site.build(out)
    return {"folder": out} | {p.name: BeautifulSoup(p.read_text(encoding="utf8"), "html.parser")
                              for p in sorted(out.glob("*.html"))}


def pages(site):
    return {name: soup for name, soup in site.items() if name != "folder"}


def test_every_notebook_has_a_page_and_a_card_with_a_picture(site):
    wanted = {f"{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(pages(site)) == wanted | {"index.html"} | set(build_site.DOCUMENTS.values())
    cards = site["index.html"].select(".cards li")
    assert {card.a["href"] for card in cards} == wanted
    for card in cards:
        assert (site["folder"] / card.img["src"]).read_bytes().startswith(b"\x89PNG")


def test_every_internal_link_leads_to_a_place(site):
    for name, soup in pages(site).items():
        for link in soup.select("a[href]"):
            target, _, place = link["href"].partition("#")
            if re.match(r"\w+:", target):
                continue
            there = site[target] if target else soup
            assert not place or there.find(id=unquote(place)), f"{name}: {link['href']}"


def test_nothing_is_loaded_from_the_network_and_every_picture_has_words(site):
    for name, soup in pages(site).items():
        assert soup.find("script") is None, name
        loaded = [e.get("src") or e.get("href") for e in soup.select("[src], link[href]")]
        assert all(re.match(r"data:image/|pictures/|site\.css$", address) for address in loaded), name
        for image in soup.find_all("img"):
            assert re.search(r"^(?!.*<figure).*\w{3}", image.get("alt") or "", re.S), name
    assert "url(" not in (site["folder"] / "site.css").read_text(encoding="utf8")


def test_formulas_are_mathml(site):
    for number in ("05", "06", "07", "08"):
        soup = next(soup for name, soup in pages(site).items() if name.startswith(number))
        assert len(soup.find_all("math")) > 5
    for name, soup in pages(site).items():
        for raw in soup.find_all(["pre", "code", "style"]):
            raw.decompose()
        for formula in soup.find_all("math"):
            assert "\\" not in formula.get_text(), f"{name}: not understood in {formula.get_text()}"
        assert not re.search(r"\$[^$]*\\\w+[^$]*\$", soup.get_text()), name


def test_a_broken_link_stops_the_build():
    text = ('<a href="../DEVIATIONS.md#model">D</a> <a href="../Makefile">M</a> <a href="https://a.org">A</a> '
            '<a href="#b">b</a>')
    made = build_site.linked(text, "notebooks/03_patchconv.ipynb", build_site.DOCUMENTS)
    assert made == '<a href="deviations.html#model">D</a> M <a href="https://a.org">A</a> <a href="#b">b</a>'
    with pytest.raises(SystemExit, match=r"notebooks/03_patchconv\.ipynb: links to nothing\.md, which does not exist"):
        build_site.linked('<a href="nothing.md">N</a>', "notebooks/03_patchconv.ipynb", {})


def test_a_table_that_lacks_a_notebook_stops_the_build(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_a.ipynb").touch()
    (tmp_path / "README.md").write_text("| 02 | [B](notebooks/02_b.ipynb) | 20 | §1 | b |\n", encoding="utf8")
    monkeypatch.setattr(build_site, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="does not list every notebook once"):
        build_site.build(tmp_path / "site")
