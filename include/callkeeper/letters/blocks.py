"""A letter's body between its template and its page: headings, paragraphs, lists and tables, and their plain text.

A template writes ``# title``, ``## heading``, ``- item``, ``| cell | cell |`` (the first row is the header); lines that follow
each other are one paragraph. A fact is never read as such a mark: ``literal`` sees to it.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

WIDTH: Final = 76
"""Characters a line of the text."""

_PLAIN, _BAR = "\x02", "\x04"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """``text`` of a title, heading or paragraph; ``rows`` of a list (one cell each) or a table (the header first)."""

    kind: Literal["title", "heading", "paragraph", "list", "table"]
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        return asdict(self)


def literal(fact: object) -> str:
    """The fact on one line, in a form that ``parse`` reads as text and nothing else."""
    text = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c
        for c in str(fact)
        if unicodedata.category(c) != "Cf"  # what turns the direction of writing, or is not seen
    )
    text = re.sub(" {2,}", " ", text).strip(" ").replace("|", _BAR)
    return _PLAIN + text if text else ""


def parse(body: str) -> list[Block]:
    """The blocks of a rendered template."""
    blocks: list[Block] = []
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            blocks.append(Block(kind="paragraph", text=_said(" ".join(paragraph))))
            paragraph.clear()

    previous = ""
    for line in (*map(str.strip, body.splitlines()), ""):
        mark = line.split(" ", 1)[0]
        if mark in ("#", "##"):
            close()
            blocks.append(Block(kind="title" if mark == "#" else "heading", text=_said(line[len(mark) :])))
        elif mark == "-" or mark.startswith("|"):
            close()
            kind: Literal["list", "table"] = "list" if mark == "-" else "table"
            cells = [line[1:]] if mark == "-" else line.strip("|").split("|")
            if not (blocks and blocks[-1].kind == kind and previous):
                blocks.append(Block(kind=kind))
            blocks[-1].rows.append([_said(cell) for cell in cells])
        elif line:
            paragraph.append(line)
        else:
            close()
        previous = line
    return blocks


_TOGETHER: Final = re.compile(
    r"(?<=\d) (?=[\d§]|artikl|kohd|kohta|moment|mom\.|kuukau|månader|months)|(?<=klo) |(?<=kl\.) |(?<=GDPR) |(?<=rtikel) |(?<=Article) "
)
"""The spaces at which no line ends: in a telephone number, before a paragraph sign, in the name of an article."""


def _said(text: str) -> str:
    return _TOGETHER.sub("\N{NO-BREAK SPACE}", text.replace(_PLAIN, "").replace(_BAR, "|").strip())


def as_text(blocks: Iterable[Block]) -> str:
    """The blocks as plain text, ``WIDTH`` characters wide, an empty line between two."""
    return "\n\n".join("\n".join(_lines(block)) for block in blocks)


def _lines(block: Block) -> Iterator[str]:
    match block.kind:
        case "title" | "heading":
            yield from (lines := wrap(block.text))
            yield ("=" if block.kind == "title" else "-") * max(map(len, lines))
        case "paragraph":
            yield from wrap(block.text)
        case "list":
            for (item,) in block.rows:
                yield from wrap(item, "- ")
        case "table":
            yield from _table(block.rows)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """In columns where they fit; else one entry under the other, each cell with its header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= WIDTH:
        for n, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            yield line.replace("\N{NO-BREAK SPACE}", " ")
            if n == 0:
                yield "  ".join("-" * width for width in widths)
        return
    header, *entries = rows
    for n, row in enumerate(entries):
        if n:
            yield ""
        for name, cell in zip(header, row, strict=True):
            yield from wrap(f"{name}: {cell}", "  " if cell is not row[0] else "")


def wrap(text: str, before: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=before,
        subsequent_indent=" " * len(before),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
