"""The operands of a scan that names places, `-z HOST:PORT HOST:PORT … -- COMMAND`, as a config that waits for them.

Theory: each place is read as if it were the only operand, by the rules of `one_operand.py`, with all options. So a
place is what `pync -z PLACE` tests. HOST PORT PORT … is another form with another meaning: one open port is enough.

getopt takes `--` out of the command line. Its place is found again by reading the words before it: they can be read
unless it is the value of an option.
"""

from __future__ import annotations

from pync.errors import UsageError
from pync.faces.native.config import config
from pync.faces.native.conflicts import TLS
from pync.faces.native.options import HINTS, TABLE
from pync.faces.option_table import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.faces.option_table import Values

WANTED = {"any": "any", "closed": "none"}  # by the dest of an option
END = "--"


def waiting(argv: list[str], values: Values, operands: list[str]) -> Config:
    """What the command line of a scan asks for: to wait for places, or what `config` reads. Raises UsageError."""
    places, command = _divided(argv, operands)
    wanted = next((dest for dest in WANTED if dest in values), None)
    if values.get("family") == "unix" or not (places and _is_place(places[0])):
        if wanted:
            raise UsageError(f"--{wanted} without HOST:PORT", f"as in 'pync -z --{wanted} localhost:80 [::1]:81'")
        return _ports(values, operands, places, command)
    if len(places) == 1 and not (command or wanted):
        return config(values, operands)
    if "shuffle" in values:
        raise UsageError("-r with several places", "all of them are tried at the same time")
    configs = tuple(_place(own, place) for place, own in zip(places, _own_values(values, places), strict=True))
    first = configs[0]
    changed: Config = first.but(
        host=None, ports=(), places=configs, wanted=WANTED[wanted] if wanted else "all", command=tuple(command)
    )
    return changed


def _divided(argv: list[str], operands: list[str]) -> tuple[list[str], list[str]]:
    """The operands in front of the command, and the command: what follows the first `--` that follows an operand."""
    for position, word in enumerate(argv):
        if word == END:
            try:
                _, before = read(TABLE, argv[:position], HINTS)
            except UsageError:  # this one is the value of an option
                continue
            if before:
                return before, operands[len(before) :]
            break
    if END in operands:
        position = operands.index(END)
        return operands[:position], operands[position + 1 :]
    return operands, []


def _is_place(operand: str) -> bool:
    """Whether an operand holds a port, too. An IPv6 address with or without brackets does not."""
    return "://" in operand or "]:" in operand or operand.count(":") == 1


def _ports(values: Values, operands: list[str], before: list[str], command: list[str]) -> Config:
    """What HOST PORT PORT … asks for, where `--` ends the options and no more."""
    try:
        return config(values, operands)
    except UsageError:
        if command and len(before) > 1:
            why = f"as in 'pync -z {before[0]}:{before[1]} -- {command[0]}'"
            raise UsageError("a command after HOST PORT", f"it follows HOST:PORT, {why}") from None
        raise


def _own_values(values: Values, places: list[str]) -> list[Values]:
    """The options for each place: next to one of tls:// or wss://, those of TLS are for such alone, unless --ssl is."""
    encrypted = [place.partition("://")[0].lower() in ("tls", "ssl", "wss") for place in places]
    if not any(encrypted) or "tls" in values:
        return [values] * len(places)
    plain = {dest: value for dest, value in values.items() if dest not in TLS}
    return [values if each else plain for each in encrypted]


def _place(values: Values, place: str) -> Config:
    """The config of a scan of this place alone."""
    if not _is_place(place):
        raise UsageError(f"operand {place}", "not HOST:PORT, as the places before it are")
    read = config(values, [place])
    if len(read.ports) > 1:
        raise UsageError(f"operand {place}", "one port for each place; a range is for a scan of one HOST")
    return read
