"""The options of pync's own command line, as data: --help, completion, the manual's test and every run read them.

Theory: the letters are those of Debian's nc.openbsd. Of the letters that it lacks, those are taken that have one
meaning in Ncat and nc.traditional. All else of Ncat has Ncat's long name. What is pync's alone gets no letter. A dest
is the name of the field in `config.py` that it sets, where there is one.
"""

from __future__ import annotations

from pync.faces import option_values as types
from pync.faces.option_table import Rare, Section, count, flag, repeated, value


def _no_routing_tables(text: str) -> None:
    raise ValueError("there are no routing tables to choose from")


POSITIVE = types.integer(1, 2147483647)
DATAGRAM_SIZE = types.integer(1, 65507)
SIZE = types.integer(1, 1 << 62)
BUFFER_SIZE = types.integer(1, 1073741824)
PROXY_TYPE = types.Choice("http connect", "https", "socks4 4 socks4a", "socks5 5 socks5h")
SERVED_PROXY_TYPE = types.Choice("http", "socks5 5")
LOG_FORMAT = types.Choice("text", "json")
SHELL = types.Choice("bash", "zsh", "fish")
LOCAL_OR_REMOTE = types.Choice("local", "remote")

FORMS = (
    "[OPTION]... HOST PORT...",
    "-l [OPTION]... [HOST] PORT",
    "[-l] -U [OPTION]... PATH",
    "-z [OPTION]... HOST:PORT... [-- COMMAND]",
)
ABOUT = """Connect, or with -l wait for a client: stdin is sent, what is received goes to stdout. The end of stdin is
passed on as a half-close; what the peer still sends is received until it ends, too. A PORT is a number, a service's
name or a range LO-HI; HOST:PORT is one operand for both. A TIME is in seconds, or has a unit: ms, s, m or h."""

ENDING = """
Examples:
  pync -l 9000 > copy.iso                receive a file
  pync HOST 9000 < disk.iso              send it
  pync -lk --filter 'tr a-z A-Z' 1067    make a server of a filter

'pync --help all' lists the rare options, too; 'man pync' explains them all.
"""

TABLE = (
    Section(
        "Addresses",
        flag("4", "ipv4", "family", "IPv4 only", "ipv4"),
        flag("6", "ipv6", "family", "IPv6 only", "ipv6"),
        flag("U", "unixsock", "family", "a unix socket: a path, or @NAME (abstract)", "unix"),
        flag("", "vsock", "vsock", "a virtual machine's socket: HOST is a CID", rare=True),
        flag("", "sctp", "sctp", "SCTP instead of TCP", rare=True),
        flag("u", "udp", "datagram", "datagrams: UDP, or with -U unix datagrams"),
        flag("n", "nodns", "numeric", "numeric addresses only: ask no name server"),
        value("s", "source", "ADDR", "source_host", str, "our own address (a path with -uU); with -l, HOST"),
        value("p", "source-port", "PORT", "source_port", str, "our own port; with -l, PORT"),
    ),
    Section(
        "Listening",
        flag("l", "listen", "listen", "wait for a client instead of connecting"),
        repeated("", "also", "PLACE", "also_at", types.paths, "listen on [HOST:]PORT or a unix PATH, too", rare=True),
        value("", "mode", "MODE", "path_mode", Rare("mode"), "permissions of the path, in octal: 660", rare=True),
        value("", "owner", "NAME[:GROUP]", "path_owner", types.user, "the owner of the path", rare=True),
        repeated("", "fd-name", "NAME", "fd_names", types.hosts, "use only this one of the passed sockets", rare=True),
        flag("k", "keep-open", "keep_open", "serve many clients, also at the same time"),
        value("", "max-conns", "N", "max_conns", POSITIVE, "serve at most so many at once; 100 for programs"),
        repeated("", "allow", "HOST,...", "allow", types.hosts, "serve only these: addresses, networks, names"),
        repeated("", "allowfile", "FILE", "allow_files", types.paths, "serve only those that FILE lists", rare=True),
        repeated("", "deny", "HOST,...", "deny", types.hosts, "turn these away, even if they are allowed"),
        repeated("", "denyfile", "FILE", "deny_files", types.paths, "turn away those that FILE lists", rare=True),
        value("", "user", "NAME[:GROUP]", "user", types.user, "become this user once the port is bound"),
        flag("", "http", "http", "put an HTTP response in front of what is sent"),
        flag("", "ws", "websocket", "WebSocket; a client names ws://HOST/PATH", "/"),
        flag("", "ws-text", "websocket_text", "with --ws: send text, not binary messages", rare=True),
        repeated(
            "", "ws-header", "NAME:VALUE", "websocket_headers", Rare("header"), "send this header, too", rare=True
        ),
        value(
            "",
            "ws-protocol",
            "NAME,...",
            "websocket_protocols",
            Rare("tokens"),
            "subprotocols, the best first",
            rare=True,
        ),
        repeated(
            "", "ws-origin", "SITE,...", "websocket_origins", types.hosts, "serve pages of these sites, too", rare=True
        ),
    ),
    Section(
        "Programs",
        value("e", "exec", "CMD", "exec", types.command, "hand the connection to a program (no shell)"),
        value("c", "sh-exec", "CMD", "sh_exec", types.shell, "hand the connection to a command of /bin/sh"),
        value("", "filter", "CMD", "filter", types.shell, "let a filter answer as it reads, via /bin/sh"),
        flag("", "pipes", "pipes", "give -e and -c pipes instead of the socket"),
        flag("", "pty", "pty", "give -e and -c a terminal: for a shell, top, vi"),
    ),
    Section(
        "Encryption",
        flag("", "ssl", "tls", "TLS; the server's certificate is verified"),
        flag("", "ssl-no-verify", "no_verify", "accept any certificate"),
        value("", "ssl-pin", "sha256:HEX", "pin", Rare("fingerprint"), "accept this certificate alone"),
        value("", "ssl-trustfile", "FILE", "trust_file", types.path, "trust these authorities, not the system's"),
        value(
            "", "ssl-servername", "NAME", "server_name", str, "the name to be verified, if it is not HOST", rare=True
        ),
        value("", "ssl-cert", "FILE", "certificate", types.path, "our certificate (PEM)"),
        value("", "ssl-key", "FILE", "key", types.path, "its key, if that is in another file"),
        flag("", "ssl-verify", "verify", "with -l: demand a certificate of each client"),
        value(
            "",
            "ssl-alpn",
            "NAME,...",
            "alpn",
            Rare("alpn_names"),
            "protocols to be offered, the best first",
            rare=True,
        ),
        value("", "ssl-ciphers", "LIST", "ciphers", str, "OpenSSL's names of the ciphers for TLS 1.2", rare=True),
    ),
    Section(
        "Proxies",
        value("", "proxy", "PROXY", "proxy", str, "go through [TYPE://]HOST[:PORT], an HTTP proxy"),
        value("x", "", "PROXY", "socks_proxy", str, "the same, but a SOCKS5 proxy unless TYPE says"),
        value("X", "proxy-type", "TYPE", "proxy_type", PROXY_TYPE, "http (connect), https, socks4 (4), socks5 (5)"),
        value("P", "", "USER", "proxy_user", str, "our user at the proxy; asks for the password"),
        value("", "proxy-auth", "LOGIN", "proxy_auth", str, "USER[:PASSWORD], for the proxy or for ours"),
        value(
            "",
            "proxy-dns",
            "WHERE",
            "proxy_dns",
            LOCAL_OR_REMOTE,
            "look HOST up here (local) or there (remote)",
            rare=True,
        ),
        value("", "proxy-server", "TYPE", "serve_proxy", SERVED_PROXY_TYPE, "with -l: be a proxy, http or socks5"),
        repeated("", "proxy-allow", "HOST,...", "proxy_allow", types.hosts, "connect our clients only to these"),
        repeated(
            "", "proxy-allowfile", "FILE", "proxy_allow_files", types.paths, "only to those that FILE lists", rare=True
        ),
        repeated(
            "", "proxy-deny", "HOST,...", "proxy_deny", types.hosts, "do not connect our clients to these", rare=True
        ),
        repeated(
            "", "proxy-denyfile", "FILE", "proxy_deny_files", types.paths, "not to those that FILE lists", rare=True
        ),
    ),
    Section(
        "Relaying",
        flag("", "broker", "broker", "pass on what each client sends to all others"),
        flag("", "chat", "chat", "the same by lines, with names"),
        value("", "to", "HOST:PORT", "to", str, "with -l: connect each client to this place"),
        flag("", "to-ssl", "to_tls", "speak TLS to it"),
        flag("", "send-proxy", "proxy_header", "name the client to it first: PROXY protocol", 1, rare=True),
        flag("", "send-proxy-v2", "proxy_header", "the same, by version 2 of the protocol", 2, rare=True),
        flag("", "accept-proxy", "accept_proxy", "let balancers name their clients so", rare=True),
        flag("F", "", "pass_descriptor", "connect, and hand the socket over by stdout", rare=True),
    ),
    Section(
        "Data",
        flag("d", "no-stdin", "no_stdin", "do not read stdin"),
        flag("", "recv-only", "recv_only", "only receive (the same as -d)"),
        flag("", "send-only", "send_only", "only send: throw away what is received"),
        flag("", "raw", "raw_terminal", "send each key as it is typed; Ctrl-] ends"),
        flag("", "window-size", "window_size", "send the size of the window; with --pty: take it", rare=True),
        flag("C", "crlf", "crlf", "send line ends as CR LF"),
        flag("t", "telnet", "telnet", "answer telnet negotiation, and take it out"),
        flag("", "lines", "lines", "with -u: send and show lines, a datagram each"),
        value(
            "", "datagram-size", "N", "datagram_size", DATAGRAM_SIZE, "with -u: at most so many bytes in one", rare=True
        ),
        value("i", "pace", "TIME", "pace", types.seconds, "wait so long after each line sent"),
        value("", "delay", "TIME", "delay", types.seconds, "wait so long before passing each read on", rare=True),
        value("o", "output", "FILE", "raw", Rare("log_path"), "copy both directions to FILE; %n: one a client"),
        value("", "hex-dump", "FILE", "hexadecimal", Rare("log_path"), "copy both directions to FILE as a hex dump"),
        flag("", "timestamps", "timestamps", "put the time in front of each block of it", rare=True),
        flag("", "append-output", "append", "append to FILE instead of starting it anew", rare=True),
    ),
    Section(
        "Ending",
        flag("N", "shutdown", "at_once", "half-close at stdin's end without waiting"),
        flag("", "no-shutdown", "no_shutdown", "never half-close"),
        value(
            "q",
            "quit-after",
            "TIME",
            "quit_after",
            types.quit_seconds,
            "leave so long after stdin's end; -1: do not",
        ),
        value(
            "W", "receive-limit", "N", "receive_limit", POSITIVE, "leave after so many reads from the peer", rare=True
        ),
    ),
    Section(
        "Time limits",
        value("w", "wait", "TIME", "wait", types.seconds, "for connecting, and for silence afterwards"),
        value("", "connect-timeout", "TIME", "connect_timeout", types.seconds, "for connecting alone", rare=True),
        value("", "idle-timeout", "TIME", "idle_timeout", types.seconds, "for silence in both directions alone"),
        value("", "retry", "TIME", "retry", types.seconds, "go on trying to connect for so long"),
        value("", "reconnect", "TIME", "reconnect", types.seconds, "when it ends before stdin: try again for so long"),
    ),
    Section(
        "Scanning",
        flag("z", "scan", "scan", "only test which ports are open (-v lists them)"),
        flag("", "any", "any", "of several HOST:PORT, one is enough", rare=True),
        flag("", "closed", "closed", "wait until no HOST:PORT is open", rare=True),
        flag("r", "randomize-ports", "shuffle", "try the ports in random order"),
    ),
    Section(
        "Socket options",
        flag("b", "broadcast", "broadcast", "SO_BROADCAST: allow broadcasts"),
        flag("D", "debug", "debug", "SO_DEBUG", rare=True),
        flag("", "tcp-keepalive", "keepalive", "SO_KEEPALIVE: probe a silent peer"),
        value("I", "receive-buffer", "SIZE", "receive_buffer", BUFFER_SIZE, "SO_RCVBUF, in bytes", rare=True),
        value("O", "send-buffer", "SIZE", "send_buffer", BUFFER_SIZE, "SO_SNDBUF, in bytes", rare=True),
        value("T", "tos", "TOS", "tos", Rare("tos"), "type of service: a keyword or 0 to 255", rare=True),
        value("M", "ttl", "N", "ttl", types.integer(1, 255), "time to live of what is sent", rare=True),
        value(
            "m", "min-ttl", "N", "min_ttl", types.integer(0, 255), "least time to live of what is received", rare=True
        ),
        value("", "interface", "NAME", "interface", str, "use this network interface alone", rare=True),
        value(
            "V", "", "N", "routing_table", _no_routing_tables, "refused: OpenBSD alone has routing tables", rare=True
        ),
    ),
    Section(
        "Messages",
        count("v", "verbose", "verbosity", "say what happens; -vv: retries, too, and when"),
        flag("", "progress", "progress", "show on stderr how far a transfer has come", 0.2),
        flag("", "checksum", "checksum", "show the SHA-256 of what was sent and received"),
        value("", "size", "BYTES", "size", SIZE, "for --progress: what is to be moved in all", rare=True),
        value("", "log-format", "FORMAT", "log_format", LOG_FORMAT, "text, or json: an object a line", rare=True),
        flag("h", "help", "help", "show this help; --help all has all options", alone=True),
        value("", "completion", "SHELL", "completion", SHELL, "print the completion for bash, zsh or fish", rare=True),
        flag("", "version", "version", "show the version", alone=True),
    ),
)

# The dests that `tls_and_proxy.py` reads: more depends on them than a field of `Config`.
TLS_AND_PROXY = {
    *("vsock", "sctp"),
    *(
        option.dest
        for section in TABLE
        if section.title in ("Encryption", "Proxies", "Relaying")
        for option in section.options
    ),
}

# Remarks for spellings that other netcats (and curl) have and pync has not.
HINTS = {
    "-g": "routers no longer follow source routes",
    "-G": "routers no longer follow source routes",
    "-H": "--ssl-pin names the only certificate to accept",
    "-K": "the key is --ssl-key",
    "-L": "-lk serves many clients, and --to forwards them",
    "-R": "the authorities to trust are --ssl-trustfile",
    "-S": "there are no TCP MD5 signatures; --ssl protects a connection",
    "-Z": "there is no DCCP",
    "--cacert": "the authorities to trust are --ssl-trustfile",
    "--dialect": "it has to be the first argument",
    "--dont-resolve": "numeric addresses only is -n",
    "--host": "HOST is an operand",
    "--insecure": "--ssl-no-verify accepts any certificate",
    "--interval": "the pause after each line is -i",
    "--key": "the key is --ssl-key",
    "--local-port": "our own port is -p",
    "--lua-exec": "-e 'lua FILE' runs a script",
    "--port": "PORT is an operand, and our own port is -p",
    "--quiet": "only errors are reported without -v",
    "--silent": "only errors are reported without -v",
    "--sni": "the name to request is --ssl-servername",
    "--strict": "the command of -z runs only if all places are open",
    "--talk": "it is --chat",
    "--timeout": "the limit for connecting and for silence is -w",
    "--tls": "it is --ssl",
    "--tunnel": "with -l, --to forwards each client",
    "--zero": "a scan is -z",
}
