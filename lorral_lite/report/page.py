"""How a report looks: tables, pictures and sections as one self-contained HTML page, and the same as Markdown."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """What stands in a table: the figure, something smaller below it, and whether it is flagged."""

    text: str
    detail: str = ""
    flag: bool = False


@dataclass
class Table:
    """A table with the data it is about. ``rows`` start with the row's heading; other entries are Cells or strings.

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


@dataclass
class Picture:
    """A PNG with its alternative text and caption."""

    png: bytes
    alt: str
    caption: str


@dataclass
class Section:
    """A heading and what stands below it, in order: str paragraphs, Tables, Pictures, or lists of str (bullets)."""

    id: str
    title: str
    parts: list


def _inline(text: str) -> str:
    """Text with **strong**, `code` and [label](link) as HTML."""
    done = html.escape(text)
    for mark, tag in (("**", "strong"), ("`", "code")):
        pieces = done.split(mark)
        if len(pieces) % 2:
            done = "".join(p if i % 2 == 0 else f"<{tag}>{p}</{tag}>" for i, p in enumerate(pieces))
    if done.startswith("[") and "](" in done and done.endswith(")"):
        label, link = done[1:-1].split("](", 1)
        done = f'<a href="{link}">{label}</a>'
    return done


def html_page(data_name: str, summary: list[str], tiles: list[tuple[str, str]], sections: list[Section]) -> str:
    """The whole report as one page that asks for nothing from outside; ``tiles``: (figure, what it is)."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf8")
    contents = "".join(f'<li><a href="#{s.id}">{html.escape(s.title)}</a></li>' for s in sections)
    body = "".join(f'<section id="{s.id}" aria-labelledby="{s.id}-title"><h2 id="{s.id}-title">{html.escape(s.title)}'
                   f'</h2>{"".join(_html_part(p) for p in s.parts)}</section>' for s in sections)
    abstract = "".join(f"<p>{_inline(s)}</p>" for s in summary)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>lorral-lite report: {html.escape(data_name)}</title>
<link rel="icon" href="data:,"><style>{style}</style></head><body>
<a class="skip" href="#main">Skip to the report</a>
<header><h1>Facial action units with region relations</h1>
<p class="kind">A reproduction of LoRRaL (arXiv 2009.10892) with lorral-lite, on {html.escape(data_name)}</p>
<div class="abstract">{abstract}</div>{_html_tiles(tiles)}<nav aria-label="Contents"><ol>{contents}</ol></nav></header>
<main id="main" tabindex="-1">{body}</main>
<footer>Made by <code>lorral report</code>. The same figures as text: report.md; as data: report.json.</footer>
</body></html>
"""


def _html_tiles(tiles: list[tuple[str, str]]) -> str:
    return '<div class="tiles">' + "".join(f'<div class="tile"><b>{html.escape(figure)}</b><span>{html.escape(what)}'
                                           "</span></div>" for figure, what in tiles) + "</div>" if tiles else ""


def _html_part(part) -> str:
    if isinstance(part, str):
        return f"<p>{_inline(part)}</p>"
    if isinstance(part, dict):
        rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{_inline(v)}</dd>" for k, v in part.items())
        return f"<dl>{rows}</dl>"
    if isinstance(part, list):
        return "<ul>" + "".join(f"<li>{_inline(x)}</li>" for x in part) + "</ul>"
    if isinstance(part, Picture):
        data = base64.b64encode(part.png).decode("ascii")
        return (f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(part.alt, quote=True)}">'
                f"<figcaption>{_inline(part.caption)}</figcaption></figure>")
    return _html_table(part)


def _html_table(table: Table) -> str:
    words = [c in table.words for c in table.columns]
    head = "".join(f'<th scope="col"{" class=words" if w else ""}>{html.escape(c) or "&nbsp;"}</th>'
                   for c, w in zip(table.columns, words, strict=True))
    lines = []
    for i, row in enumerate(table.rows):
        kind = ' class="sum"' if row[0] == "mean F1" else ' class="own"' if row[0].startswith("LoRRaL") else ""
        cells = "".join(_html_cell(cell, w, span) for cell, w, span in zip(row[1:], words[1:], _spans(table, i)[1:],
                                                                           strict=True))
        lines.append(f'<tr{kind}><th scope="row">{html.escape(row[0])}</th>{cells}</tr>')
    badge = f'<span class="badge{"" if table.comparable else " other"}">{html.escape(table.data)}</span>'
    note = f'<p class="note">{_inline(table.note)}</p>' if table.note else ""
    wide = " wide" if table.wide else ""
    return (f'<div class="scroll{wide}" role="region" tabindex="0" aria-label="{html.escape(table.title, quote=True)}">'
            f'<table id="{table.id}"><caption><strong>{html.escape(table.title)}</strong>{badge}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{note}")


def _spans(table: Table, i: int) -> list[int]:
    """How many rows each cell of row ``i`` stands for; 0 where the cell above stands for it too."""
    spans = []
    for c, column in enumerate(table.columns):
        mine = table.rows[i][c]
        if column not in table.merged:
            spans.append(1)
        elif i and table.rows[i - 1][c] == mine:
            spans.append(0)
        else:
            later = [row[c] == mine for row in table.rows[i:]]
            spans.append(later.index(False) if False in later else len(later))
    return spans


def _html_cell(cell, words: bool, span: int = 1) -> str:
    if span == 0:
        return ""
    cell = Cell(cell) if isinstance(cell, str) else cell
    kind = " ".join(k for k, on in (("flag", cell.flag), ("words", words)) if on)
    mark = ' <span aria-label="does not match">≠</span>' if cell.flag and not words else ""
    small = f"<small>{_inline(cell.detail)}</small>" if cell.detail else ""
    rows = f' rowspan="{span}"' if span > 1 else ""
    return f"<td{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}{rows}>{_inline(cell.text)}{mark}{small}</td>"


def markdown_page(data_name: str, summary: list[str], sections: list[Section]) -> str:
    """The report as Markdown; pictures are named, not shown."""
    lines = [f"# lorral-lite report: {data_name}", "", *(f"{s}\n" for s in summary)]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for part in section.parts:
            if isinstance(part, str):
                lines += [part, ""]
            elif isinstance(part, dict):
                lines += [*(f"- {k}: {v}" for k, v in part.items()), ""]
            elif isinstance(part, list):
                lines += [*(f"- {x}" for x in part), ""]
            elif isinstance(part, Picture):
                lines += [f"*Figure (in the HTML): {part.caption}*", ""]
            else:
                lines += markdown_table(part)
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(table: Table) -> list[str]:
    """Lines of a table with its title, data and note."""
    def text(cell) -> str:
        cell = Cell(cell) if isinstance(cell, str) else cell
        said = f"{cell.text} ({cell.detail})" if cell.detail else cell.text
        return (f"**{said}**" if cell.flag else said).replace("|", "\\|")

    return [f"**{table.title}** [{table.data}]", "", "| " + " | ".join(table.columns) + " |",
            "|" + " :-- |" + " --: |" * (len(table.columns) - 1),
            *("| " + " | ".join([row[0], *(text(c) for c in row[1:])]) + " |" for row in table.rows),
            "", table.note, ""]
