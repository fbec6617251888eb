"""Which options of pync's own command line make no sense together, or alone, and why: every such rule, and its check.

Theory: no option is ignored in silence, so what cannot be done together is a usage error. A rule names dests. The
order is that of the checks: a command line that breaks two rules is refused by the first. What depends on the text
of a value (the type in a proxy's URL, a path behind --to) is checked where the value is read.

A command line without options does not import this module. One with options pays 20 microseconds for the rules that
only TLS, proxies, relaying and rare sockets need; so these rules stand here with the others.
"""

from __future__ import annotations

from pync.config import Tls
from pync.errors import UsageError
from pync.faces.native.options import TABLE
from pync.faces.option_table import check, conflict, needs, spelling_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.faces.option_table import Rule, Values

PROGRAMS = ("exec", "sh_exec", "filter")
ONE_WAY = ("recv_only", "send_only")
LISTENER_ONLY = (
    *("also_at", "path_mode", "path_owner", "fd_names", "max_conns"),
    *("allow", "allow_files", "deny", "deny_files", "user", "http"),
)
WEBSOCKET = ("websocket_text", "websocket_headers", "websocket_protocols")

RULES: tuple[Rule, ...] = (
    needs("keep_open", "listen", "only a listener has clients; TCP keep-alive is --tcp-keepalive"),
    needs(LISTENER_ONLY, "listen", "only a listener has clients"),
    conflict(("scan", "shuffle", "connect_timeout"), "listen", "a listener connects to nobody"),
    conflict("retry", "listen", "a listener connects to nobody", unless=("to",)),
    conflict("reconnect", "listen", "a listener connects to nobody"),
    conflict("reconnect", "scan", "a scan transfers nothing"),
    conflict("reconnect", "datagram", "datagrams have no connection that could end"),
    conflict("reconnect", PROGRAMS, "the program has one connection for itself"),
    conflict("reconnect", "receive_limit", "one goes on, the other leaves"),
    needs(("any", "closed"), "scan", "they are about the places that -z waits for"),
    conflict("closed", "any", "one waits for an open port, the other for none"),
    conflict(PROGRAMS, "scan", "a scan transfers nothing"),
    conflict(("sh_exec", "filter", "http", *ONE_WAY), "exec", "the program has the connection for itself"),
    conflict(("filter", "http", *ONE_WAY), "sh_exec", "the program has the connection for itself"),
    conflict(("http", *ONE_WAY), "filter", "the filter has both directions for itself"),
    conflict(("recv_only", "no_stdin"), "send_only", "nothing would be left to do"),
    needs(("pipes", "pty"), PROGRAMS[:2], "it is for the program of -e or -c"),
    conflict("pipes", "pty", "the program has one or the other"),
    conflict("datagram", "pty", "a terminal needs a stream"),
    conflict("no_shutdown", "at_once", "one half-closes, the other never does"),
    conflict("datagram", "http", "HTTP needs a stream"),
    needs(("lines", "datagram_size"), "datagram", "a stream has no datagrams"),
    conflict(("lines", "datagram_size"), "scan", "a scan transfers nothing"),
    conflict(("progress", "checksum", "raw", "hexadecimal"), "scan", "a scan transfers nothing"),
    needs("timestamps", "hexadecimal", "the time stands in front of the blocks of a hex dump"),
    conflict("checksum", ("exec", "sh_exec"), "the program has the connection for itself", unless=("pipes", "pty")),
    conflict("checksum", "http", "the answer has a head, which is in no file"),
    conflict("checksum", "lines", "a line may be given an end on the way"),
    needs("size", "progress", "it shows how far a transfer has come"),
    conflict("size", "keep_open", "the clients' transfers have no size in common"),
    conflict(("datagram", "http"), "websocket", "WebSocket is a conversation over a stream"),
    needs(WEBSOCKET, "websocket", "only WebSocket has that", unless=("to_websocket",)),
    needs("websocket_origins", "websocket", "only WebSocket has that"),
    needs("websocket_origins", "listen", "only a listener has clients"),
    conflict("raw_terminal", "scan", "a scan transfers nothing"),
    conflict("raw_terminal", PROGRAMS, "the program has the connection for itself"),
    conflict("raw_terminal", ("no_stdin", *ONE_WAY), "what is typed is to be sent, and the answer to be seen"),
    conflict("raw_terminal", "datagram", "what is typed has to arrive, and in order"),
    conflict("raw_terminal", "keep_open", "the terminal is for one peer"),
    conflict("raw_terminal", ("http", "crlf", "pace"), "keys are no lines"),
    needs("window_size", ("raw_terminal", "pty"), "there is no window"),
    conflict("window_size", "telnet", "TELNET itself uses the same escapes"),
    conflict("websocket_text", "scan", "a scan transfers nothing"),
    conflict("websocket_headers", "listen", "a listener makes no request", unless=("to_websocket",)),
)

TLS = ("tls", *Tls.__annotations__, "no_verify")  # each of them asks for TLS
PROXIES = ("proxy", "socks_proxy")  # the proxy to go through
PROXY_DETAILS = ("proxy_user", "proxy_auth", "proxy_dns", "proxy_type")
PROXY_TARGETS = ("proxy_allow", "proxy_deny", "proxy_allow_files", "proxy_deny_files")
CONNECTING_CLIENTS = ("to", "serve_proxy")
HUBS = ("broker", "chat")
DATA_BUT_CRLF = ("telnet", "pace", "delay", "send_only", "recv_only", "at_once", "no_shutdown", "receive_limit")
DATA = ("crlf", "lines", "datagram_size", *DATA_BUT_CRLF)  # what is done with the bytes, and when a conversation ends

# `proxy_tls` and `to_websocket` are no options: `tls_and_proxy.py` adds them if pync speaks TLS to the proxy that it
# goes through, or WebSocket to the place of --to.
TLS_AND_PROXY_RULES: tuple[Rule, ...] = (
    conflict(("verify", "pin", "trust_file"), "no_verify", "one verifies, the other does not"),
    conflict("trust_file", "pin", "the one certificate that is accepted needs no authority"),
    conflict("datagram", TLS, "TLS needs a stream"),
    conflict("datagram", (*PROXIES, "serve_proxy"), "a proxy passes on streams alone"),
    conflict(("vsock", "sctp"), PROXIES, "proxies know TCP alone"),
    conflict("socks_proxy", "proxy", "one proxy at a time"),
    conflict("pass_descriptor", "scan", "a scan transfers nothing"),
    conflict((*PROGRAMS, "http"), (*HUBS, *CONNECTING_CLIENTS), "the clients are relayed already"),
    conflict((*DATA, "no_stdin"), CONNECTING_CLIENTS, "nothing of stdin is sent"),
    conflict((*DATA_BUT_CRLF, "quit_after", "datagram"), HUBS, "a hub is for all"),
    conflict(CONNECTING_CLIENTS, HUBS, "the clients are relayed already"),
    conflict("serve_proxy", "to", "where to is for the clients to say"),
    conflict(
        (*TLS, *PROGRAMS, "http", *DATA, "reconnect", "raw_terminal"),
        "pass_descriptor",
        "the socket is somebody else's then",
    ),
    conflict("websocket", "pass_descriptor", "the other process would get the frames of WebSocket"),
    conflict("websocket", "serve_proxy", "a proxy has a protocol of its own"),
    conflict(("listen", "datagram"), "pass_descriptor", "it hands over one connection"),
    conflict("checksum", HUBS, "a hub is for all"),
    conflict("raw_terminal", (*HUBS, *CONNECTING_CLIENTS), "the clients are relayed already"),
    conflict(("progress", "checksum", "raw", "hexadecimal"), "pass_descriptor", "the socket is somebody else's then"),
    conflict(("datagram", "vsock"), "sctp", "SCTP is another transport"),
    conflict(
        ("family", "also_at", "allow", "deny", "allow_files", "deny_files"),
        "vsock",
        "the addresses are of another kind",
    ),
    conflict(("source_host", "source_port", "scan"), "vsock", "a CID and a port are all there is"),
    needs(CONNECTING_CLIENTS, "listen", "only a listener has clients"),
    needs("to_tls", "to", "one belongs to the other"),
    needs("proxy_header", "to", "one belongs to the other"),
    needs("accept_proxy", "listen", "only a listener has clients"),
    needs("accept_proxy", ("allow", "allow_files"), "any client could take the name of another; list the balancers"),
    conflict("datagram", ("accept_proxy", "proxy_header"), "the PROXY protocol needs a stream"),
    conflict("vsock", ("accept_proxy", "interface"), "the addresses are of another kind"),
    needs("key", "certificate", "one belongs to the other"),
    conflict("no_verify", "listen", "it is about a server's certificate", unless=("to_tls", "proxy_tls")),
    conflict(("pin", "server_name"), "listen", "it is about a server's certificate", unless=("to_tls",)),
    conflict(PROXIES, "listen", "a listener connects to nobody", unless=CONNECTING_CLIENTS),
    needs(PROXY_TARGETS, "serve_proxy", "only the clients of a proxy choose their targets"),
    conflict(PROXY_TARGETS, PROXIES, "the next proxy looks up the targets"),
    needs(PROXY_DETAILS, (*PROXIES, "serve_proxy"), "there is no proxy to say it to"),
)


def check_conflicts(values: Values) -> None:
    """Raise UsageError for options that make no sense together, the usual ones."""
    check(TABLE, values, RULES)
    own = {"to", *PROGRAMS}  # peers that have sessions of their own
    if values.keys() >= {"checksum", "datagram", "keep_open"} and own.isdisjoint(values):
        raise UsageError("--checksum with -u and -k", "the peers share one conversation")
    if "append" in values and values.keys().isdisjoint(("raw", "hexadecimal")):
        raise UsageError(f"{spelling_of(TABLE, 'append')} alone", "there is no log to append to; add -o or --hex-dump")


def check_tls_and_proxy(values: Values) -> None:
    """Raise UsageError for options that make no sense together, one of TLS, proxies, relaying or rare sockets."""
    check(TABLE, values, TLS_AND_PROXY_RULES)
