"""Many clients at once, and many quickly after one another, for scripts/load.

- `clients` opens connections, from many addresses of the loopback network, and asks whether the next client is served.
- `crowds`, `quick` and `silent` are the shapes of the load: clients that stay, that come and go, that begin and stop.
- `cli` runs the shapes one after another, each with a server of its own, and shows a table.

It uses the servers of the package `soak`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from soak.servers import Server


class Load(NamedTuple):
    """A server, the clients that burden it while the context lasts, and a client that must be served at once."""

    server: Server
    burden: Callable[[], AbstractContextManager[None]]
    next_client: Callable[[], None]
    # Has the server send something to its clients: only then it learns which have left after a half-close.
    nudge: Callable[[], object] = lambda: None


Starting = Iterator[Load]
# What starts a shape for so many clients, with a folder for its files, and ends everything on leaving.
Start = Callable[[int, Path], AbstractContextManager[Load]]
