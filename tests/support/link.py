"""A network with one bad link: it drops, delays, reorders and doubles packets, and can be cut and mended.

    with link(Quality(loss=0.05)) as there:
        … there.inside(words) listens on HERE …
        … there.inside(words) connects to BEYOND …
        there.cut()

Theory: the link is a tun device (Documentation/networking/tuntap.rst) whose program, this file, writes each packet
back with source and destination exchanged. So what HERE sends to BEYOND comes back as a packet of BEYOND, and both ends
of a connection live in one namespace. Checksums stay right, because they are sums. Every kernel with tun has this,
while `tc netem` is a module that many lack.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness import Running

HERE, BEYOND, NAME_SERVER = "10.9.0.1", "10.9.0.2", "10.9.0.53"


class Quality(NamedTuple):
    """What happens to packets, in each direction."""

    loss: float = 0.0  # the part that is dropped
    doubled: float = 0.0  # the part that arrives twice
    late: float = 0.0  # the part that is overtaken by others
    delay: float = 0.0  # seconds for all
    dark: bool = False  # nothing arrives from the start


class Link(NamedTuple):
    """A link that is up."""

    inside: Callable[[Sequence[str]], list[str]]  # the command line that runs another one in its network
    process: Running

    def cut(self) -> None:
        """From now on nothing arrives."""
        self._ask(b"cut\n")

    def mend(self) -> None:
        """It works again."""
        self._ask(b"mend\n")

    def name_server_is_asked(self) -> None:
        """Wait until a packet has been sent to the name server."""
        self.process.expect("^asked$")

    def _ask(self, word: bytes) -> None:
        self.process.send(word)
        self.process.read_until(word)


@contextlib.contextmanager
def link(quality: Quality) -> Iterator[Link]:
    """A network of its own with such a link."""
    import pytest
    from harness import Running, require
    from network import network

    require("ip")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"{DEVICE} is not for us")
    numbers = [f"--{name}={value:f}" for name, value in quality._asdict().items()]
    environment = {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}
    with (
        network() as inside,
        Running(inside([sys.executable, "-I", __file__, *numbers]), env=environment) as process,
    ):
        process.read_until(b"ready\n")
        yield Link(inside, process)


@contextlib.contextmanager
def dark_network(folder: Path) -> Iterator[Link]:
    """A network in which nothing answers, nor does the name server."""
    from harness import require

    require("unshare", "mount")
    (folder / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
    script = f'mount --bind "{folder}/resolv.conf" /etc/resolv.conf && exec "$@"'
    with link(Quality(dark=True)) as there:
        own_names = ["unshare", "-m", "sh", "-c", script, "sh"]
        yield there._replace(inside=lambda words: there.inside([*own_names, *words]))


# -- The program --------------------------------------------------------------------------------------------------

DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LONGEST = 1 << 16
LATE = 0.01  # seconds
UDP = 17


def main() -> None:
    """Reflect packets until stdin ends."""
    quality = _quality()
    tun = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"bad0", IFF_TUN | IFF_NO_PI))
    for words in (["addr", "add", f"{HERE}/24", "dev", "bad0"], ["link", "set", "bad0", "up"]):
        subprocess.run(["ip", *words], check=True)
    Reflector(tun, quality).run()


def _quality() -> Quality:
    parser = argparse.ArgumentParser()
    for name in Quality._fields:
        parser.add_argument(f"--{name}", type=float)
    return Quality(**vars(parser.parse_args()))


class Reflector:
    """The link itself."""

    def __init__(self, tun: int, quality: Quality) -> None:
        self._tun, self._quality = tun, quality
        self._dark = bool(quality.dark)
        self._waiting: list[tuple[float, int, bytes]] = []  # when each is due, a number, and the packet
        self._number = 0
        self._chance = random.Random("a bad link")

    def run(self) -> None:
        """Until stdin ends."""
        print("ready", flush=True)
        while True:
            pause = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            readable = select.select([0, self._tun], [], [], pause)[0]
            if 0 in readable and not self._obey(os.read(0, 64).decode().strip()):
                return
            if self._tun in readable:
                self._take(os.read(self._tun, LONGEST))
            self._deliver()

    def _obey(self, word: str) -> bool:
        self._dark = word == "cut"
        print(word, flush=True)
        return bool(word)

    def _take(self, packet: bytes) -> None:
        if packet[0] >> 4 != 4:
            return
        if packet[9] == UDP and packet[20 + 2 : 20 + 4] == struct.pack("!H", 53):
            print("asked", file=sys.stderr, flush=True)
        if self._dark or self._chance.random() < self._quality.loss:
            return
        reflected = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
        for _ in range(1 + (self._chance.random() < self._quality.doubled)):
            late = LATE if self._chance.random() < self._quality.late else 0.0
            self._number += 1
            due = time.monotonic() + self._quality.delay + late
            heapq.heappush(self._waiting, (due, self._number, reflected))

    def _deliver(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            with contextlib.suppress(OSError):  # the queue of the device is full: one packet more is dropped
                os.write(self._tun, heapq.heappop(self._waiting)[2])


if __name__ == "__main__":
    main()
