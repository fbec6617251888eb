"""Binding all addresses of a listener to one port, and unix paths."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from doubles import a_context
from loopback import (
    DATAGRAM,
    FOUR,
    STREAM,
    Names,
    bound,
    ends,
    listener,
    port_of,
    server,
    without_ipv6,
)

import pync.net.bind
import pync.net.dial
import pync.net.options
from pync.config import Config, SocketOptions
from pync.connections.incoming import take
from pync.errors import BindError, PyncError
from pync.loop.kernel import Loop
from pync.net.attempt import new_socket
from pync.net.bind import bind

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pync.config import Family


@pytest.mark.parametrize("datagram", [False, True])
async def test_both_families_have_one_ephemeral_port(real_loop: Loop, datagram: bool) -> None:
    async with bound(real_loop, listener(datagram=datagram)) as here:
        (six, port), (four, same_port) = ends(here)
        assert six == "::"
        assert four == "0.0.0.0"
        assert port == same_port > 0


@pytest.mark.parametrize(("family", "host"), [("ipv4", "0.0.0.0"), ("ipv6", "::")])
async def test_one_family_can_be_asked_for(real_loop: Loop, family: Family, host: str) -> None:
    async with bound(real_loop, listener(family=family)) as here:
        assert [end[0] for end in ends(here)] == [host]


async def test_every_address_of_a_name_is_bound(real_loop: Loop, names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "::1", "127.0.0.1"]
    async with bound(real_loop, listener("many.test")) as here:
        assert [host for host, _ in ends(here)] == ["::1", "127.0.0.2", "127.0.0.1"]
        assert len({port for _, port in ends(here)}) == 1


class Refusing(socket.socket):
    """A socket that cannot be bound to IPv4, `times` times."""

    times = 0
    refusals = 0
    why = errno.EADDRINUSE

    def bind(self, name: Any) -> None:
        kind = type(self)
        if self.family == FOUR and kind.refusals < kind.times:
            kind.refusals += 1
            raise OSError(self.why, os.strerror(self.why))
        super().bind(name)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> type[Refusing]:
    """The class of the sockets that are bound in this test."""

    class Here(Refusing):
        pass

    def made(family: int, config: Config) -> socket.socket:
        return Here(fileno=new_socket(family, config).detach())

    monkeypatch.setattr(pync.net.bind, "new_socket", made)
    return Here


async def test_another_ephemeral_port_is_taken_where_one_is_not_free_in_both_families(
    real_loop: Loop, refusing: type[Refusing]
) -> None:
    refusing.times = 3
    async with bound(real_loop, listener()) as here:
        assert refusing.refusals == 3
        assert len({port for _, port in ends(here)}) == 1 and len(here.sockets) == 2


@pytest.mark.usefixtures("no_leak")
async def test_the_search_for_an_ephemeral_port_has_an_end(real_loop: Loop, refusing: type[Refusing]) -> None:
    refusing.times = 1000
    with pytest.raises(BindError, match="^listen on an ephemeral port: Address already in use$"):
        await bind(a_context(real_loop, listener()))
    assert 1 < refusing.refusals < 1000


@pytest.mark.usefixtures("no_leak")
async def test_a_port_that_is_taken_in_one_family_is_refused_in_both(real_loop: Loop) -> None:
    with server() as taken:
        port = port_of(taken)
        with pytest.raises(BindError, match=f"^listen on 0.0.0.0:{port}: Address already in use$"):
            await bind(a_context(real_loop, listener(port=port)))
    with server("::1") as taken:
        port = port_of(taken)
        with pytest.raises(BindError, match=rf"^listen on \[::1\]:{port}: Address already in use$"):
            await bind(a_context(real_loop, listener("::1", port)))


async def test_a_family_that_the_system_lacks_is_left_out(real_loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ipv6(monkeypatch)
    async with bound(real_loop, listener()) as here:
        assert [host for host, _ in ends(here)] == ["0.0.0.0"]
    with pytest.raises(BindError, match=r"^listen on \[::1\]:0: Address family not supported by protocol$"):
        await bind(a_context(real_loop, listener("::1")))


async def test_an_address_that_is_not_here_is_left_out_if_there_is_another(real_loop: Loop, names: Names) -> None:
    names["half.test"] = ["192.0.2.1", "127.0.0.1"]
    async with bound(real_loop, listener("half.test")) as here:
        assert [host for host, _ in ends(here)] == ["127.0.0.1"]
    with pytest.raises(BindError, match="^listen on 192.0.2.1:0: Cannot assign requested address$"):
        await bind(a_context(real_loop, listener("192.0.2.1")))


async def test_a_server_can_start_again_at_once_and_never_beside_itself(real_loop: Loop) -> None:
    async with bound(real_loop, listener("127.0.0.1")) as here:
        (sock,), port = here.sockets, ends(here)[0][1]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        with socket.create_connection(("127.0.0.1", port)) as client:
            take(sock)[0].close()  # the server's end closes first, so the system keeps its port for a while
            assert client.recv(1) == b""
        with pytest.raises(BindError):
            await bind(a_context(real_loop, listener("127.0.0.1", port)))
    async with bound(real_loop, listener("127.0.0.1", port)) as here:
        assert ends(here) == [("127.0.0.1", port)]


async def test_a_datagram_port_is_never_shared(real_loop: Loop) -> None:
    async with bound(real_loop, listener("127.0.0.1", datagram=True)) as here:
        (sock,), port = here.sockets, ends(here)[0][1]
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with pytest.raises(BindError, match="Address already in use"):
            await bind(a_context(real_loop, listener("127.0.0.1", port, datagram=True)))


@pytest.mark.usefixtures("no_leak")
async def test_the_others_are_closed_when_one_is_kept(real_loop: Loop) -> None:
    async with bound(real_loop, listener()) as here:
        first, second = here.sockets
        here.keep(second)
        assert (first.fileno(), here.sockets) == (-1, [second])
        here.close()
        here.close()  # once more changes nothing
        assert second.fileno() == -1


@pytest.mark.parametrize("datagram", [False, True])
async def test_a_unix_path_is_there_until_the_end(real_loop: Loop, datagram: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with bound(real_loop, Config(mode="listen", host=path, family="unix", datagram=datagram)) as here:
        here.keep(here.sockets[0])
        assert stat.S_ISSOCK(os.lstat(path).st_mode)
    assert os.listdir(tmp_path) == []
    async with bound(real_loop, Config(mode="listen", host=path, family="unix", datagram=datagram)):
        os.unlink(path)
        (tmp_path / "s").write_text("another program's")
    assert (tmp_path / "s").read_text() == "another program's"
    with pytest.raises(BindError, match="Address already in use"):
        await bind(a_context(real_loop, Config(mode="listen", host=path, family="unix", datagram=datagram)))


@pytest.mark.parametrize("kind", [STREAM, DATAGRAM], ids=["stream", "datagram"])
async def test_a_unix_path_is_taken_over_from_a_dead_socket_only(
    real_loop: Loop, kind: socket.SocketKind, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    config = Config(mode="listen", host=path, family="unix", datagram=kind == DATAGRAM)
    with socket.socket(socket.AF_UNIX, kind) as living:
        living.bind(path)
        if kind == STREAM:
            living.listen()
        with pytest.raises(BindError, match=f"^listen on {path}: Address already in use$"):
            await bind(a_context(real_loop, config))
    async with bound(real_loop, config) as here:  # the path is still there
        os.unlink(path)
        here.close()
    (tmp_path / "s").mkdir()
    with pytest.raises(BindError, match="Address already in use"):
        await bind(a_context(real_loop, config))


async def test_an_abstract_name_leaves_nothing_behind(real_loop: Loop, tmp_path: Path) -> None:
    name = f"@{tmp_path}"
    for _ in range(2):
        async with bound(real_loop, Config(mode="listen", host=name, family="unix")) as here:
            assert here.sockets[0].getsockname() == os.fsencode(f"\0{tmp_path}")
            with pytest.raises(BindError, match=f"^listen on {name}: Address already in use$"):
                await bind(a_context(real_loop, Config(mode="listen", host=name, family="unix")))


async def test_an_option_that_is_refused_ends_the_binding(real_loop: Loop) -> None:
    with pytest.raises(PyncError, match="^set the TTL to 0: Invalid argument$"):
        await bind(a_context(real_loop, listener("127.0.0.1", socket=SocketOptions(ttl=0))))
