"""``make site``: every notebook as a page of static HTML, and an index with a card for each, into site/.

The pages need no network: pictures lie in them, formulas become MathML, and no script is loaded. Widgets are replaced
by a sentence: they need a kernel. The words of the cards are the chapter table of the README.
"""

import argparse
import base64
import html
import io
import math
import os
import re
import shutil
import sys
from pathlib import Path

import latex2mathml.converter
import nbformat
from bs4 import BeautifulSoup
from jinja2 import pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from PIL import Image
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {
    "notebooks/README.md": "teachers.html", "notebooks/add_a_relation.md": "add_a_relation.html",
    "DEVIATIONS.md": "deviations.html", "data/README.md": "data.html", "data/results/README.md": "results.html",
    "lorral_lite/README.md": "command.html",
}
"""Text pages of the site. A link to any other file of the repository becomes plain text."""

CARD = re.compile(r"^\| (\d\d) \| \[(.+?)\]\((notebooks/\S+?\.ipynb)\) \| (.+?) \| (.+?) \| (.+?) \|$", re.M)
"""A row of the README's chapter table: number, title, file, minutes, paper, what one sees."""

CARD_SHAPE = 1.75
"""Width of a card's picture over its height."""

WIDGET = "application/vnd.jupyter.widget-view+json"
NO_WIDGET = "<p class='note'>Sliders or buttons, which need Python behind them: run the notebook to use them.</p>"

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="site.css"></head>
<body><a class="skip" href="#main">To the text</a>
<nav class="way" aria-label="Pages">{way}</nav>
<main id="main" tabindex="-1">{body}</main>
<footer><p>lorral-lite. Texts and pictures CC BY 4.0, code BSD-3-Clause.</p></footer>
</body></html>
"""

STYLE = """
nav.way { max-width: 68rem; margin: 0 auto; padding: 1rem 1.5rem 0; display: flex; gap: 1.5rem; flex-wrap: wrap; }
main { padding-top: 1rem; } main img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem; }
pre { overflow-x: auto; padding: .6rem .9rem; border-radius: .4rem; background: var(--band); line-height: 1.4; }
pre, code { font-family: "Source Code Pro", "DejaVu Sans Mono", monospace; font-size: .9rem; }
pre code { background: none; padding: 0; } .output_area pre { background: none; border-left: 3px solid var(--line); }
math { font-size: 1.08em; } math[display=block] { margin: 1rem 0; }
p:has(> math[display=block]) { max-width: none; overflow-x: auto; }
th, td { text-align: left; } table { width: auto; display: block; overflow-x: auto; }
@media (min-width: 60rem) { main > table { display: table; } }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1.3rem; list-style: none;
  padding: 0; max-width: none; }
.cards li { border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
.cards img { width: 100%; height: 11rem; object-fit: contain; border-radius: 0; border-bottom: 1px solid var(--line); }
.cards div { padding: .8rem 1.1rem 1rem; } .cards h2 { border: 0; margin: 0; padding: 0; font-size: 1.2rem; }
.cards p { margin: .4rem 0 0; line-height: 1.4; } .cards small { color: var(--soft); }
"""


class Renderer(IPythonRenderer):
    """Markdown as notebooks have it, with formulas as MathML."""

    def block_math(self, body: str) -> str:
        return latex2mathml.converter.convert(body, display="block")

    def inline_math(self, body: str) -> str:
        return latex2mathml.converter.convert(body)


def markdown(text: str) -> str:
    return MarkdownWithMath(renderer=Renderer(escape=False, exclude_anchor_links=True)).render(text)


class Exporter(HTMLExporter):
    template_name = "basic"
    exclude_input_prompt = exclude_output_prompt = True

    @pass_context
    def markdown2html(self, context, source):
        return markdown(source)


def readable(notebook):
    """The notebook with a sentence for every widget and the words of every picture as its alt text."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data:
                output.data = nbformat.from_dict({"text/html": NO_WIDGET})
            elif "image/png" in data:
                words = re.sub(r"^<figure: (.*)>$", r"\1", data.get("text/plain", ""), flags=re.S)
                output.metadata["image/png"] = nbformat.from_dict({"alt": " ".join(words.split())})
    return notebook


def card_picture(notebook) -> tuple[bytes, str]:
    """PNG and alt text of the stored picture whose shape fits a card best."""
    found = [(base64.b64decode(output.data["image/png"]), output.metadata["image/png"]["alt"])
             for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    if not found:
        raise SystemExit("a notebook without a picture: run `make outputs` first")

    def misfit(picture) -> float:
        width, height = Image.open(io.BytesIO(picture[0])).size
        return abs(math.log(width / height / CARD_SHAPE))

    return min(found, key=misfit)


def linked(body: str, source: str, pages: dict[str, str]) -> str:
    """The page with its links to files of the repository turned into links to pages, or into text."""
    soup = BeautifulSoup(body, "html.parser")
    for link in soup.find_all("a", href=True):
        target, _, place = link["href"].partition("#")
        if not target or re.match(r"\w+:", target):
            continue
        path = os.path.normpath(os.path.join(os.path.dirname(source), target)).replace(os.sep, "/")
        if path in pages:
            link["href"] = pages[path] + (f"#{place}" if place else "")
        elif (ROOT / path).exists():
            link.unwrap()
        else:
            raise SystemExit(f"{source}: links to {target}, which does not exist")
    return str(soup)


def way(pages: list[str], names: dict[str, str], here: str = "") -> str:
    """Links to the page before, the index and the page after."""
    links = [("index.html", "All notebooks"), ("teachers.html", "For teachers")]
    if here in pages:
        k = pages.index(here)
        links = [(p, f"← {names[p]}") for p in pages[max(k - 1, 0):k]] + links[:1] + \
                [(p, f"{names[p]} →") for p in pages[k + 1:k + 2]]
    return "".join(f'<a href="{page}">{html.escape(name)}</a>' for page, name in links if page != here)


def build(out: Path) -> Path:
    """Write the site into the folder ``out``, which is replaced; returns the index page."""
    cards = CARD.findall((ROOT / "README.md").read_text(encoding="utf8"))
    files = [card[2] for card in cards]
    if files != sorted(f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")):
        raise SystemExit("README.md: the chapter table does not list every notebook once, in order")
    pages = {file: f"{Path(file).stem}.html" for file in files}
    names = {pages[file]: f"{number} {title}" for number, title, file, *_ in cards}
    everything = pages | DOCUMENTS
    shutil.rmtree(out, ignore_errors=True)
    (out / "pictures").mkdir(parents=True)
    exporter, listed = Exporter(), []
    for number, title, file, minutes, paper, sees in cards:
        notebook = readable(nbformat.read(ROOT / file, as_version=4))
        body = linked(exporter.from_notebook_node(notebook)[0], file, everything)
        write(out / pages[file], f"{number} · {title}", body, way(list(names), names, pages[file]))
        png, alt = card_picture(notebook)
        (out / "pictures" / f"{number}.png").write_bytes(png)
        listed.append(f'<li><img src="pictures/{number}.png" alt="{html.escape(alt)}"><div><h2><a href="{pages[file]}">'
                      f"{number} {html.escape(title)}</a></h2><p>{html.escape(sees)}</p>"
                      f"<p><small>{html.escape(minutes)} minutes · paper: {html.escape(paper)}</small></p></div></li>")
    for file, page in DOCUMENTS.items():
        text = (ROOT / file).read_text(encoding="utf8")
        write(out / page, text.splitlines()[0].lstrip("# "), linked(markdown(text), file, everything), way([], names))
    write(out / "index.html", "lorral-lite: action units and their relations",
          "<h1>Action units and their relations</h1><p class='kind'>A course in notebooks that rebuilds LoRRaL "
          "(arXiv 2009.10892) on procedural faces: drawn people whose action units are known.</p>"
          f"<ul class='cards'>{''.join(listed)}</ul><p>Also: <a href='deviations.html'>where the paper is silent</a>, "
          "<a href='data.html'>the data and their licences</a>, <a href='add_a_relation.html'>add your own relation "
          "module</a>.</p>", way([], names, "index.html"))
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    (out / "site.css").write_text("\n".join([
        (ROOT / "lorral_lite" / "report" / "report.css").read_text(encoding="utf8"), STYLE,
        HtmlFormatter(style="default").get_style_defs(".highlight"),
        f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}", ".highlight { background: none; }"]), encoding="utf8")
    return out / "index.html"


def write(path: Path, title: str, body: str, links: str) -> None:
    path.write_text(PAGE.format(title=html.escape(title), body=body, way=links), encoding="utf8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site")
    print(build(parser.parse_args(arguments).out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
