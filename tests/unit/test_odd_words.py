"""Any words on the command line are a Config or a usage error: also those that no text file holds.

The system passes bytes. What is not UTF-8 among them comes as surrogates (PEP 383), which no codec encodes by itself.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pync.errors import UsageError
from pync.faces.native.config import config
from pync.faces.native.options import HINTS, TABLE
from pync.faces.option_table import every, read

OPTIONS = list(every(TABLE))
PIECES = [
    *("\udcff\udcfe", "\udc80", "\xe9", "\u0661", "\xb2", "\u202e", "\x1b[2J", "\n", "\t", " ", "a" * 300),
    *("localhost", "127.0.0.1", "::1", "%lo", "80", "0", "-1", "65536", "9" * 30, "http", "1-5", "ms", "0x10"),
    *(*"[]:/@,;-=.?#%*'\"\\$", "://", "tcp://", "unix://", "http://", "socks5://", "sha256:", "f" * 64),
]
texts = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)


@st.composite
def given_options(draw: st.DrawFn) -> list[str]:
    """An option and its value."""
    option = draw(st.sampled_from(OPTIONS))
    spelling = draw(st.sampled_from(option.spellings))
    return [spelling, draw(texts)] if option.metavar else [spelling]


@given(st.lists(given_options(), max_size=3), st.booleans(), st.lists(texts, max_size=3))
@settings(max_examples=1000, deadline=None)
def test_any_command_line_is_a_config_or_a_usage_error(
    options: list[list[str]], listens: bool, operands: list[str]
) -> None:
    argv = ["-l"] * listens + [word for option in options for word in option] + operands
    try:
        asked = config(*read(TABLE, argv, HINTS))
    except UsageError as error:
        assert error.what
    else:
        assert asked.ports or asked.family == "unix"
