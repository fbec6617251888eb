"""The text of --help, and completion for shells: what click makes of an option table.

Theory: this is the other reader of the table. It must understand every command line as `option_table.read` does; a
test holds the two together. A run that moves bytes must never import it: importing click takes longer than all that
pync does before its first byte.
"""

from __future__ import annotations

import os

import click

from pync.faces.option_table import every

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pync.faces.option_table import Option, Table


class _Option(click.Option):
    """An option of the table. It collects what is given under its dest, for `option_table.values_of`."""

    def __init__(self, option: Option, prefixes: list[str]) -> None:
        names = [*option.spellings, option.dest]
        file = click.Path() if option.metavar == "FILE" else None  # so that the shell completes file names
        super().__init__(names, type=file, is_flag=None if option.metavar else True, help=option.help)
        self.option = option
        self.prefixes = prefixes

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        action = "append" if self.option.metavar else "append_const"
        opts = [*self.opts, *self.prefixes]
        parser.add_option(obj=self, opts=opts, dest=self.name, action=action, const=self.option.constant)

    def handle_parse_result(self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]) -> Any:
        if self.name in opts:
            ctx.params[self.name] = opts[self.name]
        return None, args


class _Command(click.Command):
    """A click command whose help has one usage line for each form, and a heading for each section of the table."""

    def __init__(self, table: Table, forms: tuple[str, ...], about: str, *, rare: bool) -> None:
        longs = [option.long for option in every(table) if option.long]
        params = [_Option(option, _prefixes(option.long, longs)) for option in every(table)]
        operands = click.Argument(["operands"], nargs=-1, type=click.UNPROCESSED)
        permute = not os.environ.get("POSIXLY_CORRECT")
        settings = {"allow_interspersed_args": permute}
        super().__init__("pync", settings, params=[*params, operands], help=about, add_help_option=False)
        self.table = table
        self.forms = forms
        self.rare = rare

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for number, form in enumerate(self.forms):
            formatter.write_usage(ctx.command_path, form, prefix="       " if number else "Usage: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(_column(option)) for option in every(self.table))  # one for all sections, to line them up
        for section in self.table:
            rows = [
                (_column(option).ljust(width), option.help)
                for option in section.options
                if self.rare or not option.rare
            ]
            if rows:
                with formatter.section(section.title):
                    formatter.write_dl(rows)


def _column(option: Option) -> str:
    return option.synopsis if option.letter else "    " + option.synopsis


def _prefixes(long: str, longs: list[str]) -> list[str]:
    """Every shorter spelling of a long name that is no prefix of another."""
    heads = [long[:size] for size in range(1, len(long))]
    return [f"--{head}" for head in heads if [name for name in longs if name.startswith(head)] == [long]]


def click_command(table: Table, forms: tuple[str, ...], about: str, *, rare: bool = True) -> click.Command:
    """The click command of a table. `forms` are the usage lines without the program's name."""
    return _Command(table, forms, about, rare=rare)


def help_text(table: Table, forms: tuple[str, ...], about: str, ending: str = "", *, rare: bool = True) -> str:
    """The text of --help, at most 80 columns wide. It ends with `ending`; `rare`: the rare options are there, too."""
    command = click_command(table, forms, about, rare=rare)
    return command.get_help(click.Context(command, info_name="pync")) + "\n" + ending


def complete(table: Table, forms: tuple[str, ...], about: str) -> None:
    """Answer a shell that asks for completion by `_PYNC_COMPLETE` in the environment, and end with SystemExit."""
    click_command(table, forms, about).main(args=[], prog_name="pync", complete_var="_PYNC_COMPLETE")
