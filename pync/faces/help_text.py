"""The text of --help, made of an option table.

A module of its own, because a run does not import it. It does not need click, which may be missing.
"""

from __future__ import annotations

import shutil
import textwrap

from pync.faces.option_table import every

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pync.faces.option_table import Option, Table

WIDEST, NARROWEST = 78, 50  # columns of a line


def help_text(table: Table, forms: tuple[str, ...], about: str, ending: str = "", *, rare: bool = True) -> str:
    """The text, at most 78 columns wide, and as wide as the terminal where that has fewer.

    `forms` are the usage lines without the name of the program. The text ends with `ending`. `rare`: it has the rare
    options, too.
    """
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns - 2))
    usage = [f"{'       ' if number else 'Usage: '}pync {form}" for number, form in enumerate(forms)]
    described = textwrap.wrap(about, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([*usage, "", *described, *_sections(table, width, rare=rare)]) + "\n" + ending


def _sections(table: Table, width: int, *, rare: bool) -> Iterator[str]:
    column = max(len(_column(option)) for option in every(table)) + 4  # one for all sections, to line them up
    for section in table:
        options = [option for option in section.options if rare or not option.rare]
        yield from ["", f"{section.title}:"] * bool(options)
        for option in options:
            first = f"  {_column(option)}".ljust(column)
            yield from textwrap.wrap(option.help, width, initial_indent=first, subsequent_indent=" " * column)


def _column(option: Option) -> str:
    return option.synopsis if option.letter else "    " + option.synopsis
