"""Programs that are killed, ignore signals, leave processes with the pipe, or close one of their ends early."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from clients import reset
from harness import UNMEASURED
from meetings import connection, met, payload, program, received, sending, settled
from netcats import Use
from outcomes import WHOLE, Case, Descendants, Flow, Law, Outcome, flow, outcome_of

if TYPE_CHECKING:
    from netcats import Netcat

SIZE = 3_000_000
ZEROS = 100_000_000  # bytes
WAYS = ("socket", "pipes", "filter")
# inetd gives the socket itself, and so does nc.traditional; of these four only pync.
TOOLS_OF = {"socket": ("pync",), "pipes": ("pync", "ncat", "socat"), "filter": ("pync",)}


def answers(tool: Netcat, folder: Path, way: str, script: str, answer: bytes, question: bytes = b"") -> Outcome:
    """The client sends its question and its end, and the program answers."""
    use = Use("listener", program=program(folder, script), way=way)
    with met(tool, use) as (process, conn), sending(conn, question, end=bool(question)):
        arrived = received(conn)
        conn.close()
        return outcome_of(process, flow(answer, arrived))


def answers_zeros(tool: Netcat, folder: Path, way: str) -> Outcome:
    """After the end of its stdin the program answers 100 MB."""
    script = f"cat >/dev/null; exec head -c {ZEROS} /dev/zero"
    use = Use("listener", program=program(folder, script), way=way)
    with met(tool, use) as (process, conn):
        conn.sendall(b"question\n")
        conn.shutdown(socket.SHUT_WR)
        count, intact = 0, True
        with contextlib.suppress(ConnectionError):
            while piece := conn.recv(1 << 20):
                intact = intact and not piece.strip(b"\0")
                count += len(piece)
        conn.close()
        return outcome_of(process, Flow(ZEROS, count, intact))


def takes_all(tool: Netcat, folder: Path, way: str) -> Outcome:
    """The program closes its stdout at once, and takes a large upload after that."""
    script = f'exec >&-; exec cat > "{folder}/upload"'
    use = Use("listener", program=program(folder, script), way=way)
    with met(tool, use) as (process, conn), sending(conn, payload(SIZE)):
        outcome = outcome_of(process)
        arrived = (folder / "upload").read_bytes()
        return outcome._replace(flows=(flow(payload(SIZE), arrived),))


IGNORANT = 'trap "" TERM HUP; echo ready; sleep 20; sleep 20'


def ends_with_its_client(tool: Netcat, folder: Path, way: str) -> Outcome:
    """The client resets the connection of a program that ignores SIGTERM and SIGHUP."""
    use = Use("listener", program=program(folder, IGNORANT), way=way)
    with met(tool, use) as (process, conn):
        assert conn.recv(1)
        descendants = Descendants(process)
        reset(conn)
        outcome = outcome_of(process)
        return outcome._replace(left=descendants.left())


def ends_with_us(tool: Netcat, folder: Path, way: str) -> Outcome:
    """The tool gets a SIGTERM that its program ignores."""
    use = Use("listener", program=program(folder, IGNORANT), way=way)
    with met(tool, use) as (process, conn):
        assert conn.recv(1)
        descendants = Descendants(process)
        process.signal(signal.SIGTERM)
        outcome = outcome_of(process)
        return outcome._replace(left=descendants.left())


def leaves_no_zombie(tool: Netcat, folder: Path, way: str) -> Outcome:
    """Ten clients, one after the other: their programs have ended when the clients have left."""
    use = Use("keep", program=program(folder, "cat"), way=way)
    with met(tool, use) as (process, first):
        arrived = b""
        for conn in [first, *(connection(process, use) for _ in range(9))]:
            with conn:
                conn.sendall(b"x\n")
                arrived += received(conn, 2)
        none = settled(lambda: not process.children(), 5)
        process.signal(signal.SIGTERM)
        return outcome_of(process, flow(b"x\n" * 10, arrived), left=() if none else ("children",))


def inherits_nothing(tool: Netcat, folder: Path, way: str) -> Outcome:
    """With many descriptors in use, the program has 0, 1 and 2."""
    use = Use("keep", program=program(folder, f"ls /proc/self/fd > '{folder}/'$$; echo; exec sleep 20"), way=way)
    with contextlib.ExitStack() as stack:
        process, first = stack.enter_context(met(tool, use, env=UNMEASURED))
        for conn in [first, *(stack.enter_context(connection(process, use)) for _ in range(4))]:
            assert conn.recv(1)
        seen = {int(fd) for path in folder.glob("[0-9]*") for fd in path.read_text().split()}
        process.signal(signal.SIGTERM)
        # Descriptor 3 is the folder that ls reads.
        strange = tuple(f"descriptor {fd}" for fd in sorted(seen - {0, 1, 2, 3}))
        return outcome_of(process, left=strange)


HELLO = b"early\nlate\n"
ENDS = [
    # name, the program, what the client gets, what it sends, the law
    ("is killed", "echo early; kill -KILL $$", b"early\n", b"", Law((137,))),
    (
        "is killed during an upload",
        "read x; echo early; kill -KILL $$",
        b"early\n",
        payload(SIZE),
        Law((1, 137)),
    ),
    ("fails", "echo early; exit 3", b"early\n", b"", Law((3,))),
    ("leaves a process with its stdout", "(sleep 0.7; echo late) & echo early", HELLO, b"", WHOLE),
    (
        "answers late after an upload",
        "cat >/dev/null; sleep 0.7; echo late",
        b"late\n",
        payload(SIZE),
        WHOLE,
    ),
    ("closes its stdin at once", "exec <&-; echo early; sleep 0.3; echo late", HELLO, b"question\n", WHOLE),
    ("closes its stdin during an upload", "exec <&-; echo early; sleep 0.3; echo late", HELLO, payload(SIZE), WHOLE),
    ("copies a large upload", "exec cat", payload(SIZE), payload(SIZE), WHOLE),
]


def _case(way: str, name: str, scene: object, law: Law = WHOLE, **facts: object) -> Case:
    assert callable(scene)
    return Case(f"Programs, by {way}", f"one that {name}", scene, {"way": way, **facts}, law, TOOLS_OF[way])


CASES = [
    case
    for way in WAYS
    for case in [
        *(
            _case(way, name, answers, law, script=script, answer=answer, question=question)
            for name, script, answer, question, law in ENDS
        ),
        _case(way, "answers 100 MB after the end of its stdin", answers_zeros),
        _case(way, "closes its stdout and takes an upload", takes_all),
        _case(way, "ignores SIGTERM, and its client resets", ends_with_its_client, Law(None)),
        _case(way, "ignores SIGTERM, which comes", ends_with_us, Law((143,))),
        _case(way, "ends, ten times: no zombie", leaves_no_zombie, Law((143,))),
        _case(way, "looks for inherited descriptors", inherits_nothing, Law((143,))),
    ]
]
