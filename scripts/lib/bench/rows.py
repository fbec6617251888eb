"""The registry: what is measured, and what pync is to reach in it. The order is that of the table."""

from __future__ import annotations

from bench import bulk, commands, crowds, datagrams, exchanges, hubs, relays, starts, tls
from bench.commands import BARE
from bench.figures import Figure, Goal, Row

OPENBSD, NCAT, SOCAT = "nc.openbsd", "ncat", "socat"

ROWS = (
    Row(
        "file-net",
        bulk.file_to_net,
        commands.SEND,
        (
            Figure("file → net", "MB/s", (Goal(2.5, OPENBSD), Goal(0.75, BARE))),
            Figure("file → net, peak memory", "MB", less=True),
        ),
    ),
    Row(
        "pipe-net",
        bulk.pipe_to_net,
        commands.SEND,
        (
            Figure("pipe → net", "MB/s", (Goal(1.6, OPENBSD), Goal(0.85, BARE))),
            Figure("pipe → net, peak memory", "MB", less=True),
        ),
    ),
    Row(
        "net-file",
        bulk.net_to_file,
        commands.RECEIVE,
        (Figure("net → file", "MB/s", (Goal(1.8, OPENBSD), Goal(0.9, BARE))),),
    ),
    Row(
        "net-pipe",
        bulk.net_to_pipe,
        commands.RECEIVE,
        (Figure("net → pipe", "MB/s", (Goal(3.5, OPENBSD), Goal(0.75, BARE))),),
    ),
    Row(
        "net-null",
        bulk.net_to_null,
        commands.RECEIVE,
        (Figure("net → /dev/null", "MB/s", (Goal(2.5, OPENBSD),)),),
        verified=False,  # there is nothing to look at, and net-pipe has looked
    ),
    Row(
        "through",
        bulk.through,
        commands.SEND,
        (
            Figure("pipe → X → X → pipe", "MB/s", (Goal(1.6, OPENBSD),)),
            Figure("pipe → X → X → pipe, CPU of both", "s/GiB", (Goal(0.5, OPENBSD),), less=True),
        ),
    ),
    Row(
        "exec",
        exchanges.with_cat,
        commands.CAT,
        (Figure("--exec cat, round trips", "1/s", (Goal(1.7, NCAT),)),),
        verified=False,
    ),
    Row(
        "exec-pumped",
        exchanges.with_cat,
        commands.CAT_PUMPED,
        (Figure("--exec cat through a relay, round trips", "1/s", (Goal(0.85, NCAT),)),),
        verified=False,
    ),
    Row(
        "stdio",
        exchanges.with_stdio,
        commands.TALK,
        (Figure("stdin and stdout, round trips", "1/s", (Goal(0.85, OPENBSD),)),),
        verified=False,
    ),
    Row(
        "connections",
        exchanges.connections_one_by_one,
        commands.CATS,
        (Figure("-k --exec cat, connections", "1/s", (Goal(1.4, NCAT),)),),
        verified=False,
    ),
    Row(
        "connections-50",
        exchanges.connections_together,
        commands.CATS_TOGETHER,
        (Figure("-k --exec cat, connections, 50 at a time", "1/s", (Goal(1.4, NCAT),)),),
        verified=False,
    ),
    Row(
        "clients",
        crowds.held,
        commands.CROWD,
        (
            Figure("-lk, clients at the same time", "", (Goal(10_000),)),
            Figure("-lk, opens", "1/s", (Goal(8000),)),
            Figure("-lk, memory for all clients", "MB", (Goal(15),), less=True),
        ),
        verified=False,
    ),
    Row(
        "portions",
        crowds.portions,
        commands.PORTION,
        (
            Figure("-lk < FILE to 1,000 clients at once", "MB/s"),
            Figure("-lk < FILE to 1,000 clients at once, peak memory", "MB", less=True),
        ),
        verified=False,
    ),
    Row(
        "tls-send",
        tls.sent,
        commands.SEND_TLS,
        (Figure("pipe → net, TLS", "MB/s", (Goal(1.0, NCAT), Goal(1.0, SOCAT))),),
    ),
    Row(
        "tls-receive",
        tls.received,
        commands.RECEIVE_TLS,
        (Figure("net → pipe, TLS", "MB/s", (Goal(1.0, NCAT), Goal(1.0, SOCAT))),),
    ),
    Row(
        "tls-through",
        tls.offered,
        commands.OFFER_TLS,
        (Figure("pipe → X → X → pipe, TLS", "MB/s", (Goal(1.0, NCAT), Goal(1.0, SOCAT))),),
    ),
    Row(
        "forward",
        relays.forward,
        commands.FORWARD_BULK,
        (Figure("forwarding", "MB/s", (Goal(1.0, SOCAT),)),),
    ),
    Row(
        "forward-trips",
        relays.trips,
        commands.FORWARD,
        (Figure("forwarding, round trips", "1/s", (Goal(0.7, SOCAT),)),),
        verified=False,
    ),
    Row(
        "forward-opens",
        relays.connections,
        commands.FORWARD_OPENS,
        (Figure("forwarding, connections", "1/s"),),
        verified=False,
    ),
    Row(
        "proxy",
        relays.tunnel,
        commands.PROXY,
        (Figure("tunnel of an HTTP proxy", "MB/s"),),
    ),
    Row(
        "hub-100",
        hubs.to(100),
        commands.HUB,
        (
            Figure("hub, lines to 100 readers", "k/s", (Goal(2.5, NCAT),)),
            Figure("hub, lines to 100 readers, one after another", "k/s"),
        ),
    ),
    Row(
        "hub-500",
        hubs.to(500),
        commands.HUB,
        (
            Figure("hub, lines to 500 readers", "k/s", (Goal(2.5, NCAT),)),
            Figure("hub, lines to 500 readers, one after another", "k/s"),
        ),
    ),
    Row(
        "udp-send",
        datagrams.sent,
        commands.SEND_DATAGRAMS,
        (Figure("UDP send, 64 B", "k/s", (Goal(1.4, NCAT),)),),
    ),
    Row(
        "udp-receive",
        datagrams.received,
        commands.RECEIVE_DATAGRAMS,
        (Figure("UDP receive, 64 B", "k/s", (Goal(2.0, OPENBSD),)),),
    ),
    Row(
        "ports",
        starts.ports,
        commands.SCAN,
        (Figure("ports 1–65535 of 127.0.0.1", "s", (Goal(0.6, OPENBSD),), less=True),),
    ),
    Row(
        "filter",
        exchanges.through_filter,
        commands.FILTER,
        (Figure("filter tr, exact", "MB/s", (Goal(100),)),),
    ),
    Row(
        "filter-line",
        exchanges.line_by_line,
        commands.FILTER_LINES,
        (Figure("filter tr, a line and its answer", "ms", (Goal(0.2),), less=True),),
        verified=False,
    ),
    Row(
        "start",
        starts.probe,
        commands.PROBE,
        (Figure("start to probe a port", "ms", (Goal(2.0, BARE), Goal(0.4, NCAT)), less=True),),
        verified=False,
    ),
)
NAMES = [row.name for row in ROWS]
