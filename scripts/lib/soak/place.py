"""All servers of a run, with what they are given as stdin, and what reads their stdout."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL

from soak.servers import HOST, Feed, Server
from soak.wire import Mixture, Slots

PAGE = random.Random(2).randbytes(700_001)  # the file that is served
ECHO = ("-e", "cat")
SILENCE = "2"  # seconds after which a session over UDP ends

# Words among the options that stand for the addresses of servers.
TARGETS = {"TO": "exec", "TLS": "tls exec", "UDP": "udp exec", "BEHIND": "behind a balancer"}
# The servers that are started, and the options of each.
SIMPLE = {
    "exec": [*ECHO],
    "shell": ["-c", "cat"],
    "digest": ["-c", "sha256sum"],
    "filter": ["--filter", "cat"],
    "pipes": [*ECHO, "--pipes"],
    "terminal": ["--pty", "-c", "stty raw -echo; printf =; exec cat"],
    "tls exec": ["--ssl", *ECHO],
    "forward": ["--to", "TO"],
    "forward to tls": ["--to", "TLS", "--to-ssl", "--ssl-no-verify"],
    "tls forward": ["--ssl", "--to", "TO"],
    "behind a balancer": ["--accept-proxy", "--allow", HOST, *ECHO],
    "balancer": ["--to", "BEHIND", "--send-proxy-v2"],
    "socks5": ["--proxy-server", "socks5"],
    "http proxy": ["--proxy-server", "http"],
    "broker": ["--broker"],
    "tls broker": ["--ssl", "--broker"],
    "chat": ["--chat"],
    "ws exec": ["--ws", *ECHO],
    "tls ws exec": ["--ws", "--ssl", *ECHO],
    "ws forward": ["--ws", "--to", "TO"],
    "udp exec": ["-u", "-w", SILENCE, *ECHO],
    "udp forward": ["-u", "-w", SILENCE, "--to", "UDP"],
}
FILES = {"file": [], "tls file": ["--ssl"], "page": ["--http"], "tls page": ["--http", "--ssl"], "ws file": ["--ws"]}
SINKS = {
    "sink": [],
    "tls sink": ["--ssl"],
    "upload": ["--http"],
    "udp sink": ["-u", "-w", SILENCE],
    "ws sink": ["--ws"],
}
UNIX = {"unix exec": [*ECHO], "unix forward": ["--to", "TO"]}
ABSTRACT = {"abstract exec": [*ECHO]}


class Place:
    """The servers by their names; for those that write to stdout the slots of their clients, and what comes."""

    def __init__(self) -> None:
        self.servers: dict[str, Server] = {}
        self.slots: dict[str, Slots] = {}
        self.mixtures: dict[str, Mixture] = {}


@contextmanager
def opened(folder: Path) -> Iterator[Place]:
    """All servers, until the end; each is ended by SIGTERM."""
    place = Place()
    with ExitStack() as stack:
        _start(place, folder, stack)
        yield place


def _start(place: Place, folder: Path, stack: ExitStack) -> None:
    def add(name: str, options: list[str], path: str = "", **files: object) -> None:
        known = {word: f"{HOST}:{place.servers[of].port}" for word, of in TARGETS.items() if of in place.servers}
        server = Server(name, folder, *(known.get(option, option) for option in options), path=path, **files)
        stack.callback(server.end)
        place.servers[name] = server

    for name, options in SIMPLE.items():
        if "broker" in name or name == "chat":
            place.slots[name] = Slots()
        add(name, options)
    for name, options in UNIX.items():
        add(name, options, path=str(folder / name.replace(" ", "-")))
    for name, options in ABSTRACT.items():
        add(name, options, path=f"@soak-{os.getpid()}")
    (folder / "page").write_bytes(PAGE)
    for name, options in FILES.items():
        with (folder / "page").open("rb") as file:
            add(name, options, stdin=file)
    for name, options in SINKS.items():
        reader, writer = os.pipe()
        place.slots[name] = Slots()
        stack.callback(lambda mixture: mixture.end(), place.mixtures.setdefault(name, Mixture(reader)))
        try:
            add(name, options, stdin=DEVNULL, stdout=writer)
        finally:
            os.close(writer)
    feed = Feed()
    stack.callback(feed.end)
    add("shared stdin", [], stdin=feed.reader)
