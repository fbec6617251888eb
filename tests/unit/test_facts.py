"""Row 0: what a run is asked to do, what happens in it and what fails are facts, and facts do not change."""

from __future__ import annotations

import sys

import pytest
from expectations import expect
from hypothesis import given
from hypothesis import strategies as st

from pync import config, errors, events
from pync.config import Config, Ending, Frozen, Program
from pync.errors import Interrupted, OutputClosed, OutputError, PeerLost, ProgramError, PyncError, reason
from pync.events import Address, Event, as_address


class Point(Frozen):
    """A record with one field that must be given and two that need not."""

    x: int
    y: int = 0
    colour: str = "black"


def records(module: object) -> list[type[Frozen]]:
    """Every kind of fact that a module declares."""
    found = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Frozen)]
    return [item for item in found if item not in (Frozen, Event)]


RECORDS = sorted({*records(config), *records(events)}, key=lambda kind: kind.__name__)
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PyncError)]


# Frozen


def test_a_record_has_the_fields_that_were_given_and_the_defaults_of_the_others() -> None:
    point = Point(x=1, colour="red")
    expect(point, x=1, y=0, colour="red")
    assert point.facts() == {"x": 1, "y": 0, "colour": "red"}
    assert list(point.facts()) == ["x", "y", "colour"], "in the order of declaration"


def test_a_missing_field_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"^Point: unknown \[\], missing \['x'\]$"):
        Point(y=1)  # type: ignore[call-arg]


def test_an_unknown_field_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"^Point: unknown \['w', 'z'\], missing \[\]$"):
        Point(x=1, z=3, w=2)  # type: ignore[call-arg]


def test_fields_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]


def test_a_record_cannot_be_changed() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError, match=r"^Point\.x is frozen$"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"^Point\.z is frozen$"):
        point.z = 2
    assert point == Point(x=1)


def test_but_is_a_copy_with_some_fields_changed() -> None:
    point = Point(x=1, y=2)
    assert point.but(y=5, colour="red") == Point(x=1, y=5, colour="red")
    assert point.but() == point
    assert point == Point(x=1, y=2), "the original stays as it was"
    with pytest.raises(TypeError, match="unknown"):
        point.but(z=1)


def test_records_are_equal_when_kind_and_facts_are() -> None:
    class Place(Frozen):
        x: int
        y: int = 0
        colour: str = "black"

    assert Point(x=1) == Point(x=1, y=0, colour="black"), "a default that was given is no difference"
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Place(x=1)
    assert Point(x=1) != 1


@given(st.integers(), st.integers(), st.text())
def test_equal_records_have_equal_hashes(x: int, y: int, colour: str) -> None:
    one, other = Point(x=x, y=y, colour=colour), Point(x=x).but(colour=colour, y=y)
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1


def test_a_record_shows_what_it_was_given() -> None:
    assert repr(Point(x=1, colour="red")) == "Point(x=1, colour='red')"
    assert repr(Ending()) == "Ending()"
    assert repr(Program(argv=("cat",)).but(filters=True)) == "Program(argv=('cat',), filters=True)"


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_fact_can_be_hashed_compared_and_copied(kind: type[Frozen]) -> None:
    required = {name: "x" for name in kind.__annotations__ if not hasattr(kind, name)}
    fact = kind(**required)
    assert fact == fact.but() == eval(repr(fact), {kind.__name__: kind})
    assert hash(fact) == hash(fact.but())
    assert fact.facts().keys() == kind.__annotations__.keys()


def test_a_default_config_asks_for_nothing_special() -> None:
    asked = Config(mode="connect")
    assert asked.ending == Ending(half_close=True, at_once=False, quit_after=None, idle_timeout=None)
    assert asked.send and asked.receive
    assert not (asked.keep_open or asked.datagram or asked.program or asked.http or asked.crlf or asked.telnet)


# Addresses


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Address(host="127.0.0.1", port=80), "127.0.0.1:80"),
        (Address(host="::1", port=80), "[::1]:80"),
        (Address(host="fe80::1%eth0", port=1), "[fe80::1%eth0]:1"),
        (Address(host="127.0.0.1", port=0), "127.0.0.1:0"),
        (Address(host="/run/x"), "/run/x"),
        (Address(host="@abstract"), "@abstract"),
        (Address(host=""), "a unix socket without a name"),
    ],
)
def test_an_address_reads_as_people_write_it(where: Address, text: str) -> None:
    assert str(where) == text


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        (("127.0.0.1", 80), Address(host="127.0.0.1", port=80)),
        (("::1", 80, 0, 0), Address(host="::1", port=80)),
        ("/run/socket", Address(host="/run/socket")),
        (b"\0abstract", Address(host="@abstract")),
        (b"\0\xff", Address(host="@\udcff")),
        ("", Address(host="")),
        (None, Address(host="")),
    ],
)
def test_a_name_is_an_address(name: object, known_as: Address) -> None:
    assert as_address(name) == known_as


# Errors


def test_an_error_has_what_was_attempted_and_why_it_failed() -> None:
    error = OutputError("writing stdout", "No space left on device")
    assert str(error) == "writing stdout: No space left on device"
    expect(error, what="writing stdout", why="No space left on device")


def test_every_error_is_a_pync_error_with_what_and_why() -> None:
    special = {ProgramError: lambda: ProgramError("a", "b", found=True), Interrupted: lambda: Interrupted(2)}
    for kind in ERRORS:
        error = special.get(kind, lambda kind=kind: kind("a", "b"))()
        assert str(error) == f"{error.what}: {error.why}"


@pytest.mark.parametrize(
    ("unsent", "text"),
    [
        (0, "Broken pipe"),
        (1, "Broken pipe, 1 byte was not sent"),
        (2, "Broken pipe, 2 bytes were not sent"),
        (70000, "Broken pipe, 70000 bytes were not sent"),
    ],
)
def test_the_message_of_a_broken_connection_counts_what_the_peer_did_not_get(unsent: int, text: str) -> None:
    error = PeerLost("connection to 127.0.0.1:80", "Broken pipe", unsent=unsent)
    assert str(error) == f"connection to 127.0.0.1:80: {text}"
    assert error.unsent == unsent


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_what_the_peer_did_not_get_adds_up(kernel: int, flow: int, file: int) -> None:
    error = PeerLost("a", "b", unsent=kernel).also_unsent(flow).also_unsent(file)
    whole = PeerLost("a", "b", unsent=kernel + flow + file)
    assert str(error) == str(whole)
    expect(error, unsent=whole.unsent, cause="b")


def test_a_closed_output_is_an_output_error() -> None:
    assert issubclass(OutputClosed, OutputError)


def test_a_program_error_distinguishes_not_found_from_not_executable() -> None:
    assert ProgramError("a", "b", found=True).found
    assert not ProgramError("a", "b", found=False).found


def test_an_interruption_knows_its_signal() -> None:
    assert Interrupted(15).signum == 15
    assert str(Interrupted(15)) == "interrupted: signal 15"


def test_the_reason_is_the_systems_message_without_decoration() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "/x")) == "No such file or directory"
    assert reason(OSError("odd")) == "odd"


def test_a_hosts_name_is_not_kept_for_ever() -> None:
    parts = ["192.0.2", ".", "77"]
    assert as_address(("".join(parts), 1)).host == "".join(parts)
    name = "".join(parts)
    assert sys.intern(name) is name, "an equal name was interned, and some versions of Python never drop it"
