"""Completion for shells: what click makes of an option table.

Theory: this is the other reader of the table. It must understand every command line as `option_table.read` does; a
test holds the two together. A run that moves bytes must never import it: importing click takes longer than all that
pync does before its first byte.
"""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from pync.faces.option_table import Rare, every
from pync.faces.option_values import Choice
from pync.faces.rare_values import tos_keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pync.faces.option_table import Option, Table

ASKED = "_PYNC_COMPLETE"  # the variable by which a shell asks
# What click's scripts lack: bash completes file names where pync has nothing to offer, zsh loads its completion if that
# was not done yet, and fish shows the whole help of an option, also behind a comma.
MENDED = {
    "bash": ("complete -o nosort", "complete -o nosort -o bashdefault -o default"),
    "zsh": ("\n\n", "\n\n(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n\n"),
    "fish": ('string split ","', 'string split --max 1 ","'),
}


class _Option(click.Option):
    """An option of the table. It collects what is given under its dest, for `option_table.values_of`."""

    def __init__(self, option: Option, prefixes: list[str]) -> None:
        names = [*option.spellings, option.dest]
        super().__init__(names, type=_type(option), is_flag=None if option.metavar else True, help=option.help)
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


def _type(option: Option) -> click.ParamType[Any] | None:
    """What the shell offers as a value: file names, words, or nothing."""
    if isinstance(option.type, Choice):
        return click.Choice([*option.type.words])
    if isinstance(option.type, Rare) and option.type.name == "tos":
        return click.Choice([*tos_keywords()])
    return click.Path() if option.metavar == "FILE" else None


def _prefixes(long: str, longs: list[str]) -> list[str]:
    """Every shorter spelling of a long name that is no prefix of another."""
    heads = [long[:size] for size in range(1, len(long))]
    return [f"--{head}" for head in heads if [name for name in longs if name.startswith(head)] == [long]]


def click_command(table: Table) -> click.Command:
    """The click command of a table."""
    longs = [option.long for option in every(table) if option.long]
    params = [_Option(option, _prefixes(option.long, longs)) for option in every(table)]
    operands = click.Argument(["operands"], nargs=-1, type=click.UNPROCESSED)
    settings = {"allow_interspersed_args": not os.environ.get("POSIXLY_CORRECT")}
    return click.Command("pync", settings, params=[*params, operands], add_help_option=False)


def complete(table: Table) -> None:
    """Answer a shell that asks for completion by `_PYNC_COMPLETE` in the environment, and end with SystemExit."""
    if os.environ[ASKED].endswith("_source"):  # as click's own documentation has it
        print(script(table, os.environ[ASKED].removesuffix("_source")))
        raise SystemExit(0)
    click_command(table).main(args=[], prog_name="pync", complete_var=ASKED)


def script(table: Table, shell: str) -> str:
    """The script that has a shell ("bash", "zsh" or "fish") complete the command."""
    kind = get_completion_class(shell)
    if kind is None:
        raise SystemExit(1)
    click_only, mended = MENDED[shell]
    return kind(click_command(table), {}, "pync", ASKED).source().replace(click_only, mended, 1)
