"""Each test in every role of pync: as a client and as a listener, over TCP and over unix streams.

A test that is marked `in_both_roles` gets `role`, one that uses the fixture `connected` gets it for TCP and unix:

    with connected("-q", "0") as (process, peer): …

Both start a pync, with options, and give it with the socket at its other end (`pairs.py`). A module that uses one of
the fixtures assigns it to the same name: `connected = roles.connected`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from harness import PAYLOAD
from pairs import client, listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import IO

    from pairs import Pair

    Role = Callable[..., AbstractContextManager[Pair]]

MEGABYTES = PAYLOAD(3_000_000)

either_way = pytest.mark.usefixtures("either_way")  # moved by the kernel, and copied
in_both_roles = pytest.mark.parametrize("role", [client, listener])

TCP = [pytest.param((client, False), id="client"), pytest.param((listener, False), id="listener")]
UNIX = [pytest.param((client, True), id="unix client"), pytest.param((listener, True), id="unix listener")]
over_tcp = pytest.mark.parametrize("connected", TCP, indirect=True)
over_unix = pytest.mark.parametrize("connected", UNIX, indirect=True)
listening = pytest.mark.parametrize("connected", [TCP[1], UNIX[1]], indirect=True)
connecting = pytest.mark.parametrize("connected", [TCP[0], UNIX[0]], indirect=True)


@pytest.fixture(params=[*TCP, *UNIX])
def connected(request: pytest.FixtureRequest, tmp_path: Path) -> Role:
    """`with connected(option…) as (process, peer)`: a pync in one of the roles, and the socket it is connected to."""
    role, unix = request.param
    return lambda *options, **kw: role(*options, path=tmp_path / "socket" if unix else None, **kw)


@pytest.fixture
def large_file(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A regular file that holds MEGABYTES."""
    (tmp_path / "large").write_bytes(MEGABYTES)
    with (tmp_path / "large").open("rb") as file:
        yield file
