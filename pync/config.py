"""What a run of pync is asked to do, as frozen facts: a face writes them, the engine reads them.

Theory: `dataclasses` and `typing` each cost about as much as starting Python does, and a netcat is started in every
round of a shell loop. So `Frozen` does in a few lines what is needed at run time, and the type checker takes it for a
dataclass. Nothing here imports another module of pync, opens a file or computes.

All times are seconds, all sizes bytes. None means "not asked for" unless a field says otherwise.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import KeysView
    from typing import Any, Literal, Self, dataclass_transform

    from pync.behaviour import Behaviour
    from pync.listener_config import ServeProxy, Target
    from pync.websocket_config import WebSocket

    Family = Literal["any", "ipv4", "ipv6", "unix", "vsock"]
    ProxyKind = Literal["http", "socks4", "socks5"]
    HubKind = Literal["broker", "chat"]
    LogName = tuple[str, ...]  # texts, and between them a, p, t or n: the address, the port, the time or the number
else:

    def dataclass_transform(**_: object) -> object:
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Frozen:
    """A record: its annotations are the fields, its class attributes their defaults."""

    def __init__(self, **facts: Any) -> None:
        fields = type(self).__annotations__
        if len(facts) != len(fields) or facts.keys() != fields.keys():
            self._check(facts.keys())
        for name, fact in facts.items():
            # Python makes no dictionary for an object that is filled so, and a server has thousands of addresses.
            object.__setattr__(self, name, fact)

    # What a class requires is found out with its objects: at each start most classes are defined and not used.
    def _check(self, given: KeysView[str]) -> None:
        fields = type(self).__annotations__
        missing = [name for name in fields if name not in given and not hasattr(type(self), name)]
        if missing or not given <= fields.keys():
            unknown = sorted(given - fields.keys())
            raise TypeError(f"{type(self).__name__}: unknown {unknown}, missing {missing}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.facts() == other.facts()

    def __hash__(self) -> int:
        return hash(tuple(self.facts().values()))

    def __repr__(self) -> str:
        changed = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({changed})"

    def facts(self) -> dict[str, Any]:
        """Every field and its value, in the order of declaration."""
        return {name: getattr(self, name) for name in type(self).__annotations__}

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})


class SocketOptions(Frozen):
    """Options that are set on each socket before it is bound or connected (socket(7), ip(7), ipv6(7))."""

    broadcast: bool = False
    debug: bool = False
    keepalive: bool = False
    receive_buffer: int | None = None
    send_buffer: int | None = None
    tos: int | None = None
    ttl: int | None = None
    min_ttl: int | None = None
    interface: str | None = None  # the only one to be used, also for joining a group
    md5_key: bytes | None = None  # for the signatures of TCP segments (RFC 2385)
    ip_options: bytes | None = None  # of IPv4 (RFC 791, section 3.1)


class Program(Frozen):
    """The program that runs on a connection.

    `filters` is false for a program that serves (--exec, --sh-exec), which gets the socket itself where possible,
    always `pipes`, or a `terminal` of its own. It is true for one that filters (--filter), and must answer by lines.
    """

    argv: tuple[str, ...]
    path: str | None = None  # of its file; None: argv[0], which is looked for in PATH
    filters: bool = False
    pipes: bool = False
    keeps_datagrams: bool = False  # it gets a socket of datagrams itself, too, where there is but one peer
    terminal: bool = False


class Ending(Frozen):
    """When a conversation ends and how its ends-of-file are passed on."""

    half_close: bool = True  # pass stdin's end-of-file on to the peer
    at_once: bool = False  # do so without waiting for the peer's silence or answer (-N)
    quit_after: float | None = None  # end this long after stdin's end, whatever the peer does
    idle_timeout: float | None = None  # fail when nothing has moved in either direction for this long
    answer_wait: float | None = None  # datagrams: end this long after stdin's end if no answer has come; no failure
    receive_limit: int | None = None  # end after this number of reads from the peer


class Access(Frozen):
    """Which clients are served, or which targets they get: rules as the user typed them, and files with more rules."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    allow_files: tuple[str, ...] = ()
    deny_files: tuple[str, ...] = ()


class Logs(Frozen):
    """Files for copies of the bytes that are sent and received: paths, or names that give each session a path."""

    raw: str | LogName | None = None
    hexadecimal: str | LogName | None = None
    append: bool = False
    timestamps: bool = False  # in front of each block of the hexadecimal one


class Tls(Frozen):
    """How one side of a connection is encrypted. Files are in PEM format."""

    verify: bool = True  # a client verifies its server's certificate; a listener demands and verifies its clients'
    trust_file: str | None = None  # the certificates to trust instead of the system's authorities
    pin: bytes | None = None  # the SHA-256 digest of the only certificate to be accepted, by any signer
    certificate: str | None = None  # our own; a listener without one makes one at its start
    key: str | None = None  # None: it is in the certificate's file
    server_name: str | None = None  # the name to ask for and to verify; None: the host
    alpn: tuple[str, ...] = ()
    ciphers: str | None = None  # in OpenSSL's notation; TLS 1.3 has its own


class Proxy(Frozen):
    """The proxy through which connections are made."""

    kind: ProxyKind
    host: str
    port: int
    tls: Tls | None = None  # to the proxy itself
    user: str | None = None
    password: str | None = ""  # None: the user is asked for it
    remote_names: bool = True  # the proxy looks names up, not pync


class Config(Frozen):
    """One run of pync."""

    mode: Literal["connect", "listen", "scan"]
    family: Family = "any"
    datagram: bool = False  # UDP, or unix datagrams
    sctp: bool = False  # streams by SCTP instead of TCP
    host: str | None = None  # the peer, or the address to listen on; a path (or @name) when family is "unix"
    ports: tuple[int, ...] = ()  # numbers, in the order to be tried; exactly one for a listener; none for unix
    source_host: str | None = None  # our own end of a connection; a path for unix datagrams
    source_port: int | None = None
    numeric: bool = False  # never ask a name server
    shuffle: bool = False  # try ports in random order

    also: tuple[Target, ...] = ()  # more addresses and unix paths to listen on; without a host: all addresses
    inherited: tuple[str, ...] | None = (
        None  # listen on the sockets that were passed to us: all, or those with these names
    )
    path_mode: int | None = None  # the permissions of the unix paths that a listener makes; None: by the umask
    path_owner: str | None = None  # the owner of these paths: NAME or NAME:GROUP
    keep_open: bool = False
    max_conns: int | None = None  # None: as many as descriptors allow
    access: Access = Access()
    accept_proxy: bool = False  # the clients are load balancers, which name theirs by the PROXY protocol
    user: str | None = None  # the user to become once bound: NAME or NAME:GROUP

    tls: Tls | None = None
    proxy: Proxy | None = None
    websocket: WebSocket | None = None  # WebSocket over the connection

    program: Program | None = None
    http: bool = False  # send stdin as the answer to an HTTP request
    hub: HubKind | None = None  # relay between all clients
    target: Target | None = None  # relay each client to a connection of its own
    serve_proxy: ServeProxy | None = None
    pass_descriptor: bool = False  # hand the connected socket to the process at the other end of stdout

    send: bool = True  # read stdin and send it
    raw_terminal: bool = False  # stdin is a terminal that sends each key as it is typed; Ctrl-] is its end
    window_size: bool = False  # the size of the window is sent within what is typed, or taken out of it
    receive: bool = True  # what the peer sends goes to stdout; otherwise it is dropped
    pace: float | None = None  # wait this long after each line that is sent
    delay: float | None = None  # wait this long before each read is passed on, in both directions
    crlf: bool = False
    lines: bool = False  # each line is a datagram, and each datagram a line
    datagram_size: int | None = None  # bytes of one datagram that is sent, at most; None: as many as UDP allows
    telnet: bool = False
    logs: Logs = Logs()

    connect_timeout: float | None = None  # for each connection as a whole: name, addresses, proxy, TLS
    retry: float | None = None  # go on trying to connect for this long
    reconnect: float | None = None  # connect again when the connection ends before stdin: each time for this long
    places: tuple[Config, ...] = ()  # when scanning: what to wait for instead of `host`, a config with one port each
    wanted: Literal["all", "any", "none"] = "all"  # how many of the places have to be open
    command: tuple[str, ...] = ()  # the program, with its arguments, that this process becomes then
    ending: Ending = Ending()
    socket: SocketOptions = SocketOptions()

    behaviour: Behaviour | None = None  # what is done in another way than pync's own; None: nothing
    verbosity: int = 0
    checksum: bool = False  # report the SHA-256 of what each session has sent and received
    progress: float | None = None  # seconds between two reports of how far the run has come
    size: int | None = None  # bytes that are to be moved in all
