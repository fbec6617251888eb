"""Time limits of a connection through a proxy: what does not answer is named, the proxy or the host behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import a_context
from loopback import black_hole, peer, port_of, server

from pync.config import Proxy
from pync.connections.outgoing import open_connection
from pync.connections.retry import with_retry
from pync.errors import TimedOut

if TYPE_CHECKING:
    from doubles import Clock

    from pync.config import ProxyKind
    from pync.loop.kernel import Loop

KINDS: list[ProxyKind] = ["http", "socks4", "socks5"]


async def late(loop: Loop, port: int, kind: ProxyKind, limit: float | None = None) -> str:
    """How the failure reads to connect through a proxy at this port."""
    proxy = Proxy(kind=kind, host="127.0.0.1", port=port)
    context = a_context(loop, peer("192.0.2.1", 7, proxy=proxy, connect_timeout=limit))
    with pytest.raises(TimedOut) as caught:
        await open_connection(context, 7)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_silent_proxy_is_named_after_30_seconds(kind: ProxyKind, loop: Loop, clock: Clock) -> None:
    with server() as silent:
        begun = clock()
        assert await late(loop, port_of(silent), kind) == f"proxy 127.0.0.1:{port_of(silent)}: no answer for 30 s"
        assert clock() - begun == 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [3.0, 60.0])
async def test_a_silent_proxy_has_the_time_that_the_user_gives(
    kind: ProxyKind, limit: float, loop: Loop, clock: Clock
) -> None:
    with server() as silent:
        begun = clock()
        why = f"no answer for {limit:g} s"
        assert await late(loop, port_of(silent), kind, limit) == f"proxy 127.0.0.1:{port_of(silent)}: {why}"
        assert clock() - begun == limit


async def test_a_proxy_that_is_not_reached_in_time_is_named(loop: Loop) -> None:
    with black_hole() as port:
        assert await late(loop, port, "http", 3.0) == f"proxy 127.0.0.1:{port}: no answer for 3 s"


async def test_retrying_names_the_proxy_that_never_answered(loop: Loop) -> None:
    with server() as silent:
        port = port_of(silent)
        proxy = Proxy(kind="http", host="127.0.0.1", port=port)
        context = a_context(loop, peer("192.0.2.1", 7, proxy=proxy, retry=5.0))
        with pytest.raises(TimedOut) as caught:
            await with_retry(context, lambda: open_connection(context, 7))
    through = f"connect to 192.0.2.1 through proxy 127.0.0.1:{port}"
    assert str(caught.value) == f"{through}: no answer (tried for 5 s)"
