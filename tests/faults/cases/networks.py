"""Networks that lose, delay, reorder and double packets, that are cut for a while or for good, or never answer."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from harness import DEVNULL, PIPE
from link import BEYOND, HERE, Quality, dark_network, link
from meetings import file_of, payload
from netcats import Use
from outcomes import WHOLE, Case, Law, Outcome, flow, outcome_of
from pairs import stuck_port

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Running
    from netcats import Netcat

SIZE, LARGE = 400_000, 8_000_000
PORT = 7
CUT = 3.0  # seconds


def transfers(tool: Netcat, folder: Path, quality: Quality, from_listener: bool) -> Outcome:
    """A file from one to the other, over a bad link. The stdin of the receiver is open until it has everything."""
    data = payload(SIZE)
    listener, client = Use("listener", PORT, HERE), Use("client", PORT, BEYOND)
    with contextlib.ExitStack() as stack:
        there, file = stack.enter_context(link(quality)), stack.enter_context(file_of(folder, data))
        server = stack.enter_context(tool.start(listener, there.inside([]), stdin=file if from_listener else PIPE))
        process = stack.enter_context(tool.start(client, there.inside([]), stdin=PIPE if from_listener else file))
        receiver, sender = (process, server) if from_listener else (server, process)
        arrived = _all_of(receiver)
        first, second = outcome_of(sender), outcome_of(receiver)
        return (second if first.status == 0 else first)._replace(flows=(flow(data, arrived),))


def _all_of(receiver: Running) -> bytes:
    """What it receives. Its stdin is open until then: a half-close is not the fault that is played here."""
    arrived = b""
    with contextlib.suppress(pytest.fail.Exception):  # less arrives, which the judge will see
        arrived = receiver.read(SIZE, LONG)
    receiver.close_stdin()
    return arrived + receiver.read_all(LONG)


def is_cut(tool: Netcat, folder: Path) -> Outcome:
    """A link that is cut for three seconds in the middle."""
    data = payload(SIZE)
    with (
        link(Quality()) as there,
        tool.start(Use("listener", PORT, HERE), there.inside([]), stdin=PIPE) as server,
        tool.start(Use("client", PORT, BEYOND), there.inside([]), stdin=PIPE) as client,
    ):
        client.send(data[: SIZE // 2])
        arrived = server.read(SIZE // 2)
        there.cut()
        client.send(data[SIZE // 2 :])
        time.sleep(CUT)  # that is the fault
        there.mend()
        client.close_stdin()
        arrived += server.read(SIZE - SIZE // 2, LONG)
        server.close_stdin()
        return outcome_of(client, flow(data, arrived + server.read_all(LONG)))


def is_cut_for_good(tool: Netcat, folder: Path, uploading: bool) -> Outcome:
    """A link that is cut in the middle of a file, and the client has a limit of a second."""
    data = payload(LARGE)
    with (
        file_of(folder, data) as file,
        link(Quality(delay=0.005)) as there,
        tool.start(Use("listener", PORT, HERE), there.inside([]), stdin=PIPE if uploading else file) as server,
        tool.start(Use("client", PORT, BEYOND, wait=1), there.inside([]), stdin=file if uploading else PIPE) as client,
    ):
        arrived = (server if uploading else client).read(SIZE)
        there.cut()
        return outcome_of(client, flow(data, arrived))


def is_dark(tool: Netcat, folder: Path, host: str) -> Outcome:
    """Nothing answers, and the limit is a second."""
    use = Use("client", PORT, host, wait=1)
    with dark_network(folder) as there, tool.start(use, there.inside([]), stdin=DEVNULL) as process:
        return outcome_of(process, limit=SOON)


def has_a_full_backlog(tool: Netcat, folder: Path) -> Outcome:
    """The port neither accepts nor refuses, and the limit is a second."""
    with stuck_port() as port, tool.start(Use(port=port, wait=1), stdin=DEVNULL) as process:
        return outcome_of(process, limit=SOON)


LONG = 40.0  # seconds for a transfer over a bad link, on a busy machine
SOON = 5.0  # seconds for a limit of one
LINKS = {
    "dropped, 3 %": Quality(loss=0.03),
    "delayed, 40 ms": Quality(delay=0.04),
    "reordered, 20 %": Quality(late=0.2, delay=0.002),
    "doubled, 20 %": Quality(doubled=0.2),
    "dropped, delayed, reordered and doubled": Quality(loss=0.01, delay=0.005, late=0.1, doubled=0.1),
}
ENDS_LATE = Law(None, "reported")

CASES = [
    *(
        Case(
            "A network",
            f"packets are {what}, {'to the client' if from_listener else 'to the listener'}",
            transfers,
            {"quality": quality, "from_listener": from_listener},
            WHOLE,
        )
        for what, quality in LINKS.items()
        for from_listener in (False, True)
    ),
    Case("A network", "it is cut for 3 s", is_cut),
    Case(
        "A network",
        "it is cut for good while a client with -w 1 sends",
        is_cut_for_good,
        {"uploading": True},
        Law(None, "estimated"),
    ),
    Case(
        "A network",
        "it is cut for good while a client with -w 1 receives",
        is_cut_for_good,
        {"uploading": False},
        ENDS_LATE,
    ),
    Case("A network", "a black hole, with -w 1", is_dark, {"host": BEYOND}, ENDS_LATE),
    Case("A network", "a full backlog, with -w 1", has_a_full_backlog, {}, ENDS_LATE),
    Case("A network", "a name server that never answers, with -w 1", is_dark, {"host": "a.name.example"}, ENDS_LATE),
]
