"""The verbs of a script: what a step does to the program or to an end of ours, and what it waits for.

A verb gets the scene, the end that the step means, and the rest of the step. Waiting in vain ends the script.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from .ends import FAMILIES, End, address_of, shown, written
from .process import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from .scene import Scene

SILENCE = 0.3  # seconds in which nothing happens, after which a program is taken to stay as it is
PATIENCE = 6.0  # seconds for one step


class Vain(Exception):
    """A step has waited in vain."""


def accept(scene: Scene, _: End, text: str) -> None:
    """A connection at any port, or at that one."""
    found: list[tuple[socket.socket, object]] = []

    def there() -> bool:
        for server in scene.servers:
            if not found:
                with contextlib.suppress(OSError):
                    if not text or str(server.getsockname()[1]) == text:
                        found.append(server.accept())
        return bool(found)

    scene.wait("connection", there)
    sock, peer = found[0]
    here = sock.getsockname()
    scene.ends.append(End(scene.pump, sock))
    at = f"{here[0]} {here[1]}" if isinstance(here, tuple) else os.fsdecode(here)
    scene.log(f"accepted at {at}" + (f" from {written(peer)}" if peer else ""), end=scene.ends[-1])


def connect(scene: Scene, _: End, text: str) -> None:
    words, __, source = text.partition(" from ")
    kind, *_rest = words.split()
    family, address = address_of(words.split())
    sock = socket.socket(family, FAMILIES[kind])
    if source:
        sock.bind(address_of([kind, *source.split()])[1])
    if kind == "udp":
        port = words.split()[2]
        scene.wait("socket", lambda: any(at.endswith(f" {port}") for at in scene.process.bound("udp")))

    def there() -> bool:
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            sock.connect(address)
            scene.ends.append(End(scene.pump, sock))
        return bool(scene.ends) and scene.ends[-1].sock is sock

    scene.wait("listener", there)


def bound(scene: Scene, _: End, kind: str) -> None:
    scene.wait("socket", lambda: bool(scene.process.bound(kind)))
    scene.log(*(f"bound {kind} {each}" for each in scene.process.bound(kind)))


def sockets(scene: Scene, _: End, kind: str) -> None:
    """To what it is bound now, which may be nothing."""
    scene.log(f"bound {kind} {', '.join(scene.process.bound(kind)) or 'nowhere'}")


def path(scene: Scene, _: End, name: str) -> None:
    scene.wait(f"path {name}", Path(name).exists)


def send(scene: Scene, end: End, text: str) -> None:
    end.send(decoded(text))


def until(scene: Scene, end: End, text: str) -> None:
    wanted = decoded(text)
    with contextlib.suppress(Vain):
        scene.wait(f"{shown(wanted)}", lambda: wanted in end.received, live=False)
        scene.log(*end.taken(), end=end)
        return
    scene.log(*end.taken(), end=end)
    raise Vain


def eof(scene: Scene, end: End, text: str) -> None:
    with contextlib.suppress(Vain):
        scene.wait("end", lambda: bool(end.ended), live=False)
    scene.log(*end.taken(), end=end)


def fin(scene: Scene, end: End, text: str) -> None:
    end.half_close()


def close(scene: Scene, end: End, text: str) -> None:
    end.close()


def reset(scene: Scene, end: End, text: str) -> None:
    end.close(reset=True)


def write(scene: Scene, _: End, text: str) -> None:
    scene.process.type(decoded(text))


def eot(scene: Scene, _: End, text: str) -> None:
    scene.process.end_stdin()


def out(scene: Scene, _: End, text: str) -> None:
    scene.wait(f"{text} on stdout", lambda: decoded(text) in scene.process.out)


def err(scene: Scene, _: End, text: str) -> None:
    scene.wait(f"{text} on stderr", lambda: decoded(text) in scene.process.err)


def screen(scene: Scene, _: End, text: str) -> None:
    scene.wait(f"{text} on the terminal", lambda: decoded(text) in scene.process.screen)


def signal(scene: Scene, _: End, name: str) -> None:
    scene.process.signal(name)


def options(scene: Scene, _: End, names: str) -> None:
    scene.log(*scene.process.options(names.split()))


def child(scene: Scene, _: End, name: str) -> None:
    scene.wait(f"child {name}", lambda: any(name == each for __, each in scene.process.children()))


def passed(scene: Scene, _: End, text: str) -> None:
    """The socket that the program hands over by its stdout, used by us."""
    ours = scene.process.passed
    assert ours, "stdout is no socket"
    ours.setblocking(False)
    got: list[int] = []

    def there() -> bool:
        with contextlib.suppress(BlockingIOError):
            if not got:
                data, got[:], _, _ = socket.recv_fds(ours, 100, 4)
                scene.log(f"passed {len(got)} with {data!r}")
                if not data:  # the end of stdout
                    raise Vain
        return bool(got)

    scene.wait("descriptor", there)
    scene.ends.append(End(scene.pump, socket.socket(fileno=got[0])))


def still(scene: Scene, _: End, text: str) -> None:
    scene.pump.settle(SILENCE, lambda: scene.process.ended)
    scene.log(*(["runs"] if not scene.process.ended else [scene.process.status]))
    scene.log_ends()


def end(scene: Scene, _: End, text: str) -> None:
    scene.pump.wait(lambda: scene.process.ended, float(text or PATIENCE))


VERBS: dict[str, Callable[[Scene, End, str], None]] = {
    verb.__name__: verb
    for verb in (
        accept,
        connect,
        bound,
        sockets,
        path,
        send,
        until,
        eof,
        fin,
        close,
        reset,
        write,
        eot,
        out,
        err,
        screen,
        signal,
        options,
        child,
        passed,
        still,
        end,
    )
}
