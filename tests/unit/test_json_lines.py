"""`--log-format json`: what is written is JSON, whatever it is about, and the manual lists all of it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import UNMEASURED, run
from hypothesis import given
from hypothesis import strategies as st

import pync.connections.permitted
import pync.net.privileges
import pync.relay.progress
import pync.sessions.wall  # noqa: F401 (they have errors of their own)
from pync import events, listener_events
from pync.errors import ConnectError, Interrupted, PeerLost, PyncError
from pync.events import Address, Connected, Event, Retrying
from pync.faces import stderr
from pync.faces.native.json_lines import JsonLines, asked_for, plain, readable, snake_case
from pync.listener_events import Accepted, SessionFailed
from pync.relay.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

MOMENT = 1_795_926_117_123_456_789
ROOT = Path(__file__).parent.parent.parent
CLIENT = Address(host="::1", port=4000)
EVENTS = {
    kind
    for module in (events, listener_events, pync.relay.progress)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}


class Lines(JsonLines):
    """Lines that are kept instead of written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[bytes] = []
        monkeypatch.setattr(stderr.STANDARD, "write", self.written.append, raising=False)
        monkeypatch.setattr(stderr.STANDARD, "notice", stderr.STANDARD.notice)
        monkeypatch.setattr(stderr.STANDARD, "lossless", False)
        super().__init__(clock=lambda: MOMENT)

    def latest(self) -> dict[str, Any]:
        """The latest line, which is one object."""
        line = self.written[-1]
        assert line.count(b"\n") == 1 and line.endswith(b"\n") and line[:-1].decode("ascii").isprintable()
        found = json.loads(line)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    yield Lines(monkeypatch)


def test_an_event_has_the_time_its_name_and_its_facts(lines: Lines) -> None:
    lines.report(Connected(host="web", address=Address(host="127.0.0.1", port=80), transport="tcp"))
    assert list(lines.latest().items()) == [
        ("time", "2026-11-29T04:21:57.123456Z"),
        ("event", "connected"),
        ("host", "web"),
        ("address", {"host": "127.0.0.1", "port": 80}),
        ("transport", "tcp"),
    ]


def test_an_error_has_a_kind_what_was_done_and_why_it_failed(lines: Lines) -> None:
    lines.report(Retrying(error=ConnectError("connect to h", "Connection refused"), pause=0.1))
    assert lines.latest()["error"] == {"kind": "connect_error", "what": "connect to h", "why": "Connection refused"}
    assert lines.latest()["pause"] == 0.1
    lines.report(SessionFailed(peer=CLIENT, error=PeerLost("connection", "Broken pipe", unsent=7)))
    expected = {"kind": "peer_lost", "what": "connection", "why": "Broken pipe", "unsent": 7}
    assert lines.latest()["error"] == expected


@pytest.mark.parametrize(
    ("address", "written"),
    [
        (CLIENT, {"host": "::1", "port": 4000}),
        (Address(host="2", port=0), {"host": "2", "port": 0}),
        (Address(host="/run/x"), {"path": "/run/x"}),
        (Address(host="@x"), {"path": "@x"}),
        (Address(host=""), None),
    ],
)
def test_an_address_is_an_object(address: Address, written: object) -> None:
    assert plain(address) == written


def test_the_last_line_has_the_status_or_the_signal(lines: Lines) -> None:
    lines.ended(0)
    assert lines.latest()["event"] == "ended"
    assert (lines.latest()["status"], lines.latest()["signal"], lines.latest()["error"]) == (0, None, None)
    lines.ended(-15, Interrupted(15))
    assert (lines.latest()["status"], lines.latest()["signal"]) == (None, 15)


def test_the_number_of_messages_that_were_dropped_is_a_line_too(lines: Lines) -> None:
    lines.written.append(stderr.STANDARD.notice(3))
    assert (lines.latest()["event"], lines.latest()["count"]) == ("messages_missed", 3)


def test_of_the_progress_that_is_drawn_nothing_is_written(lines: Lines) -> None:
    facts: dict[str, Any] = dict.fromkeys(Progress.__annotations__) | {"stage": "running"}
    lines.report(Progress(**{**facts, "drawn": True}))
    assert lines.written == []
    lines.report(Progress(**{**facts, "drawn": False}))
    assert lines.latest()["event"] == "progress"


def test_every_event_is_wanted(lines: Lines) -> None:
    assert all(lines.wants(kind) for kind in EVENTS)


def test_a_byte_that_is_no_utf_8_is_shown() -> None:
    assert readable(os.fsdecode(b"/tmp/\xff\xc3\xa9")) == "/tmp/\\xff\u00e9"


@given(st.binary(max_size=40))
def test_whatever_bytes_a_peer_has_chosen_the_line_is_json_and_shows_them(name: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines = Lines(patch)
        lines.report(Accepted(peer=Address(host=os.fsdecode(b"/" + name)), transport="unix"))
        shown = lines.latest()["peer"]["path"]
    shown.encode()  # no surrogate is left
    assert shown == (b"/" + name).decode(errors="backslashreplace")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec=None, categories=("L", "Cs", "Cc")))
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


@given(VALUES)
def test_whatever_a_fact_is_it_can_be_written(value: object) -> None:
    json.dumps(plain(value)).encode("ascii")


@pytest.mark.parametrize(
    ("argv", "json"),
    [
        ("--log-format json", True),
        ("--log-format=json h", True),
        ("--foo --log-f JSON", True),
        ("--log-format text", False),
        ("--log-format", False),
        ("-l json", False),
        ("--l=json", False),
        ("-- --log-format json", False),
        ("", False),
    ],
)
def test_a_command_line_that_is_wrong_still_asks_for_json(argv: str, json: bool) -> None:
    assert asked_for(argv.split()) is json


# -- The manual ------------------------------------------------------------------------------------------------------


def log_events() -> str:
    page = (ROOT / "man/pync.1").read_text()
    return page.partition(".Sh LOG EVENTS\n")[2].partition("\n.Sh ")[0]


# What only a `Behaviour` can bring about, which no run of pync's own command line has.
OTHER_EVENTS = {listener_events.AcceptedHere, listener_events.BindRetried}
OTHER_ERRORS = {"port_refused", "no_client", "stranger"}


def test_the_manual_lists_every_event_with_its_facts_and_no_other() -> None:
    heads = re.findall(r"^\.It Li (\w+) :(.*)$", log_events(), re.MULTILINE)
    listed = {name: facts.replace(",", " ").split() for name, facts in heads}
    own = {"note": ["text"], "messages_missed": ["count"], "ended": ["status", "signal", "error"]}
    assert listed == own | {snake_case(kind.__name__): [*kind.__annotations__] for kind in EVENTS - OTHER_EVENTS}


def test_no_fact_has_the_name_of_a_member_of_every_line() -> None:
    assert {"time", "event"}.isdisjoint(name for kind in EVENTS for name in kind.__annotations__)


def test_the_manual_lists_every_kind_of_error() -> None:
    modules = {kind: kind.__module__ for kind in subclasses(PyncError) if kind.__module__.startswith("pync.")}
    others = ("pync.faces.openbsd.", "pync.faces.traditional.")  # which write no JSON
    kinds = {snake_case(kind.__name__) for kind, module in modules.items() if not module.startswith(others)}
    unlisted = {"refused", "unidentified"} | OTHER_ERRORS
    assert kinds - set(re.findall(r"^\.Li (\w+)", log_events(), re.MULTILINE)) == unlisted & kinds


def subclasses(kind: type[PyncError]) -> set[type[PyncError]]:
    return {kind for below in kind.__subclasses__() for kind in {below, *subclasses(below)}}


def test_json_is_imported_for_json_alone() -> None:
    code = "import sys; sys.argv[1:] = ['-zv', '127.0.0.1', '1']\nfrom pync.faces.native.face import NativeFace\n"
    code += "NativeFace().run(sys.argv[1:]); print('json' in sys.modules)"
    assert run([sys.executable, "-c", code], env=UNMEASURED, cwd=ROOT).out == b"False\n"
