"""How a run does what netcats do in different ways, as frozen facts. The defaults are pync's own way.

A module of its own, because a run that does everything in pync's own way has no `Behaviour` (`Config.behaviour` is
None) and does not import it. The engine asks for one of these facts at a time. It must never know which command line
has asked for them, or what they are called there.

All times are seconds.
"""

from __future__ import annotations

from pync.config import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal


class DatagramProbes(Frozen):
    """The datagrams that find out whether a port of UDP refuses."""

    payload: bytes
    at_once: int  # how many are sent without a pause
    later: int  # how many follow
    interval: float | None = 0.0  # before each of those; None: as long as TCP needs for an answer of the host


class Behaviour(Frozen):
    """What differs from pync's own way in one run."""

    # Ending a conversation (`relay/other_rules.py`). `Config.ending` has the limits themselves.
    # After the peer's end: go by the rules; leave; send what stdin has ready, and leave; send all of stdin.
    after_peer: Literal["rules", "leave", "drain", "stay"] = "rules"
    # `quit_after` begins at stdin's end, at the end of both, or at the first of stdin's end and the conversation's.
    quit_from: Literal["stdin", "both", "either"] = "stdin"
    quit_discards: bool = False  # what the peer sends while `quit_after` runs is thrown away
    idle_ends: bool = False  # the idle limit is an end, not a failure; of 0 seconds: leave when nothing is ready
    idle_periods: int = 0  # the idle limit begins at stdin's end, and passes so many times; 0: from the start, once
    loss_ends: bool = False  # a connection that breaks, or a port that refuses, is an end
    unreadable_ends: bool = False  # a stdin that cannot be read, such as a directory, has ended
    sends_on: bool = False  # a stdout that fails is taken like the peer's end, and is a failure after that
    datagrams_stay: bool = False  # a client of datagrams stays when stdin has ended
    null_counts: bool = False  # a listener's /dev/null is a stdin that ends at once
    limit_over_all: bool = False  # `receive_limit` counts the reads from all clients together
    read_size: int | None = None  # bytes of a stream that are one read, at most, where reads are counted or repeated

    # Connecting.
    addresses: Literal["race", "in order", "first"] = "race"  # which of a name's addresses are tried
    port_pause: float = 0.0  # after each port
    repeat_first_read: bool = False  # of several ports each gets stdin's first read again
    probes: DatagramProbes | None = None  # of UDP ports: before anything else is sent, and in a scan
    scan_in_order: bool = False  # one port after the other

    # Listening.
    dual_stack: bool = False  # an IPv6 socket takes clients of IPv4, too
    first_address: bool = False  # listen on the first address that can be bound, not on all
    backlog: int | None = None
    reuse_port: bool = False  # other sockets of such runs may be bound to our port, as a client, too
    bind_tries: int = 1  # attempts to bind a port that is in use, two seconds apart
    keeps_listening: bool = False  # the listening socket stays open while the only client is served
    one_at_a_time: bool = False  # clients are served one after the other, and share one stdin
    accept_timeout: float | None = None  # for the first client
    expected: tuple[str, int | None] | None = None  # the only address and port to be served; another ends the run
    needs_sender_path: bool = False  # an only sender of unix datagrams without a path ends the run
    leaves_paths: bool = False  # unix paths are left behind
    temporary_path: bool = False  # a client of unix datagrams has its own end in a directory below /tmp
    # Returns the name of an address of ours or of a client, for `NamedAddress`. It is called in a thread.
    name_of: Callable[[str], object] | None = None

    # What is done with the bytes.
    pauses: Literal["between", "after", "around"] = "between"  # of `pace`: between lines; after each; the first, too
    telnet_keeps: bool = False  # negotiation is answered, but stays in what is received, and nothing is escaped
    dump_runs_on: bool = False  # a hex dump's offsets run on over all clients, and it has stdin as it was read

    answers_signals: bool = True  # SIGUSR1 asks how far the run has come

    # Proxies.
    # CONNECT by HTTP/1.0, with no other field but the credentials, if there are any; SOCKS without a user, whatever the
    # proxy claims to be; a name for SOCKS 4 is looked up once the proxy is connected to.
    plain_proxies: bool = False
    waits_for_proxy: bool = False  # without a limit of the user's a proxy has as long as it takes
