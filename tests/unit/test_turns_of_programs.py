"""When as many programs run as may, the other clients have their turn in order, and none is lost or given twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import StubPeer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pync.config import Config, Program
from pync.context import Context
from pync.listener_events import ProgramsAtLimit
from pync.loop.tasks import Condition
from pync.services.program import ProgramService
from pync.sessions import program

if TYPE_CHECKING:
    from pync.events import Event
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

MOST = 2
COMMAND = Program(argv=("cat",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["come", "end", "give up"]), st.integers(0, 5))))
async def test_programs_run_in_order_and_as_many_as_may(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int]]
) -> None:
    ends = Condition()
    clients: dict[StubPeer, Task] = {}  # those that run or wait, in the order in which they came
    running: list[StubPeer] = []
    ending: set[StubPeer] = set()
    events: list[Event] = []

    async def run_program(_context: Context, client: StubPeer, _program: Program) -> None:
        running.append(client)
        try:
            while client not in ending:
                await loop.wait(ends)
        finally:
            running.remove(client)

    monkeypatch.setattr(program, "run_program", run_program)
    service = ProgramService(
        Context(loop, Config(mode="listen", ports=(0,), keep_open=True, max_conns=MOST), events.append, bool), COMMAND
    )
    waited = False
    for step, which in steps:
        if step == "come":
            client = StubPeer(loop)
            clients[client] = loop.spawn(service.session(client), Condition())
        elif clients:
            client = list(clients)[which % len(clients)]
            if step == "end" and client in running:
                ending.add(client)
                ends.notify()
                del clients[client]
            elif step == "give up":
                await loop.cancel_and_wait(clients.pop(client))
        await loop.sleep(0)
        await loop.sleep(0)
        assert running == list(clients)[:MOST]
        waited = waited or len(clients) > MOST
    await loop.cancel_and_wait(*clients.values())
    assert events == [ProgramsAtLimit(limit=MOST)] * waited
    assert service.running == 0
