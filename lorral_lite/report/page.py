"""What a report is made of, tables, pictures and sections, and its page (report.html.jinja)."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ..output import plain
from .numbers import number


@dataclass(frozen=True)
class Entry:
    """What stands in a table: the figure, something smaller below it, and whether it is flagged."""

    text: str
    detail: str = ""
    flag: bool = False


@dataclass
class PageTable:
    """A table with the data it is about. ``rows`` start with the row's heading; then come strings and Entries.

    Columns named in ``words`` hold text and are set to the left; in those named in ``merged`` equal cells of successive
    rows become one; ``comparable`` False marks another data set, ``wide`` True a table wider than the text.
    """

    id: str
    title: str
    data: str
    columns: list[str]
    rows: list[list]
    note: str = ""
    comparable: bool = True
    words: tuple[str, ...] = ("verdict", "note", "output")
    merged: tuple[str, ...] = ()
    wide: bool = False

    def spanned(self, i: int) -> Iterator[tuple[Entry, int]]:
        """Each cell of row ``i`` behind its heading, and how many rows it stands for: 0 where the one above does."""
        for column, cells in list(zip(self.columns, zip(*self.rows, strict=True), strict=True))[1:]:
            span = 1
            if column in self.merged:
                later = [cell == cells[i] for cell in cells[i:]]
                span = 0 if i and cells[i - 1] == cells[i] else [*later, False].index(False)
            yield Entry(cells[i]) if isinstance(cells[i], str) else cells[i], span


@dataclass
class Illustration:
    """A PNG with its alternative text and caption."""

    png: bytes
    alt: str
    caption: str

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode("ascii")


@dataclass
class Section:
    """A heading and what stands below it, in order: str paragraphs, dicts of facts, tables, illustrations, or lists of
    str (bullets). A str is text; :class:`Markup` is HTML of ours."""

    id: str
    title: str
    parts: list


def template(name: str) -> Template:
    """A template of this folder, into which text from files comes as text: what is not :class:`Markup` of ours is
    escaped, in Markdown too, and every character of it is seen. Figures are written by ``| number``."""
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
                        autoescape=lambda page: page == "report.html.jinja", keep_trailing_newline=True,
                        finalize=_as_text if name == "report.html.jinja" else as_markdown)
    pages.filters.update(number=number)
    return pages.get_template(name)


def _as_text(value):
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def as_markdown(value):
    """Text as Markdown that shows it and does nothing else; what is no text stays as it is."""
    return re.sub(r"[<>&`\[\]|$*]", lambda c: f"&#{ord(c[0])};", plain(value)) if isinstance(value, str) else value


def link(path: str, label: str) -> Markup:
    """A link to a file, whatever its name."""
    return Markup('<a href="{}">{}</a>').format(quote(path), plain(label))


def code(text: str) -> Markup:
    """What a reader types."""
    return Markup("<code>{}</code>").format(plain(text))


def html_page(data_name: str, summary: list[str], tiles: list[tuple[str, str]], sections: list[Section]) -> str:
    """The whole report as one page that asks for nothing from outside; ``tiles``: (figure, what it is)."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf8")
    return template("report.html.jinja").render(data=data_name, summary=summary, tiles=tiles, sections=sections,
                                                style=style)
