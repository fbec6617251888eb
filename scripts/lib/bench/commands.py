"""The command lines of each tool for each use. They are those of the manuals, without any tuning.

`{port}` is the port, and `{target}` the one a tool is to connect to in its turn. Three words at the start stand for
programs of this environment: `pync` is the installed one, `python` the interpreter it runs on, and `bare` one of the
programs in bare.py.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
PYNC = "pync"
BARE = "bare Python"
# The columns of the table, with the program that must be there.
TOOLS = {
    PYNC: "pync",
    "nc.openbsd": "nc.openbsd",
    "ncat": "ncat",
    "nc.traditional": "nc.traditional",
    "socat": "socat",
    "busybox": "busybox",
    "tinyproxy": "tinyproxy",
    BARE: "python",
}

SEND = {
    PYNC: "pync 127.0.0.1 {port}",
    "nc.openbsd": "nc.openbsd -N 127.0.0.1 {port}",
    "ncat": "ncat 127.0.0.1 {port}",
    "nc.traditional": "nc.traditional -q 0 127.0.0.1 {port}",
    "socat": "socat -u STDIN TCP:127.0.0.1:{port}",
    "busybox": "busybox nc 127.0.0.1 {port}",
    BARE: "bare send {port}",
}
RECEIVE = {
    PYNC: "pync -l 127.0.0.1 {port}",
    "nc.openbsd": "nc.openbsd -l 127.0.0.1 {port}",
    "ncat": "ncat -l --recv-only 127.0.0.1 {port}",
    "nc.traditional": "nc.traditional -l -p {port} -s 127.0.0.1",
    "socat": "socat -u TCP-LISTEN:{port},bind=127.0.0.1 STDOUT",
    "busybox": "busybox nc -l -p {port} 127.0.0.1",
    BARE: "bare receive {port}",
}
TALK = {  # stdin and stdout, one line at a time
    PYNC: "pync 127.0.0.1 {port}",
    "nc.openbsd": "nc.openbsd 127.0.0.1 {port}",
    "ncat": "ncat 127.0.0.1 {port}",
    "nc.traditional": "nc.traditional 127.0.0.1 {port}",
    "socat": "socat STDIO TCP:127.0.0.1:{port}",
    "busybox": "busybox nc 127.0.0.1 {port}",
    BARE: "bare talk {port}",
}
CAT = {
    PYNC: "pync -l --exec cat 127.0.0.1 {port}",
    "ncat": "ncat -l --exec {cat} 127.0.0.1 {port}",
    "nc.traditional": "nc.traditional -l -p {port} -s 127.0.0.1 -e {cat}",
    "socat": "socat TCP-LISTEN:{port},bind=127.0.0.1 EXEC:cat",
    "busybox": "busybox nc -l -p {port} 127.0.0.1 -e cat",
    BARE: "bare cat {port}",
}
CAT_PUMPED = {  # an idle timeout needs a relay between the connection and the program
    PYNC: "pync -l --idle-timeout 60 --exec cat 127.0.0.1 {port}",
    "ncat": CAT["ncat"],
    "socat": CAT["socat"],
}
CATS = {
    PYNC: "pync -lk --exec cat 127.0.0.1 {port}",
    "ncat": "ncat -lk --exec {cat} 127.0.0.1 {port}",
    "socat": "socat TCP-LISTEN:{port},bind=127.0.0.1,fork,backlog=64 EXEC:cat",
    "busybox": "busybox nc -ll -p {port} 127.0.0.1 -e cat",
}
# busybox has room for so few waiting connections that the kernel makes the others wait for seconds.
CATS_TOGETHER = {tool: line for tool, line in CATS.items() if tool != "busybox"}
FILTER = {
    PYNC: "pync -l --filter 'tr a-z A-Z' 127.0.0.1 {port}",
    "ncat": "ncat -l --exec '{tr} a-z A-Z' 127.0.0.1 {port}",
    "socat": "socat TCP-LISTEN:{port},bind=127.0.0.1 'EXEC:tr a-z A-Z'",
}
FILTER_LINES = {
    PYNC: FILTER[PYNC],
    "ncat": FILTER["ncat"],
    "socat": "socat TCP-LISTEN:{port},bind=127.0.0.1 'EXEC:tr a-z A-Z,pty,raw,echo=0'",
}
CROWD = {
    PYNC: "pync -lk 127.0.0.1 {port}",
    "ncat": "ncat -lk --max-conns 20000 127.0.0.1 {port}",
}
PORTION = {PYNC: "pync -lk 127.0.0.1 {port}"}
SEND_DATAGRAMS = {
    PYNC: "pync -u 127.0.0.1 {port}",
    "nc.openbsd": "nc.openbsd -u 127.0.0.1 {port}",
    "ncat": "ncat -u 127.0.0.1 {port}",
    "nc.traditional": "nc.traditional -u 127.0.0.1 {port}",
    "socat": "socat -u STDIN UDP:127.0.0.1:{port}",
}
RECEIVE_DATAGRAMS = {
    PYNC: "pync -lud 127.0.0.1 {port}",
    "nc.openbsd": "nc.openbsd -lud 127.0.0.1 {port}",
    "ncat": "ncat -lu --recv-only 127.0.0.1 {port}",
    "nc.traditional": "nc.traditional -lu -p {port} -s 127.0.0.1",
    "socat": "socat -u UDP-RECV:{port},bind=127.0.0.1 STDOUT",
}
SCAN = {  # from port 1 to {port}
    PYNC: "pync -zn 127.0.0.1 1-{port}",
    "nc.openbsd": "nc.openbsd -zn 127.0.0.1 1-{port}",
    "nc.traditional": "nc.traditional -zn 127.0.0.1 1-{port}",
}
# All of TLS is version 1.3 with the cipher that OpenSSL prefers, by the certificate that tls.py makes.
SEND_TLS = {
    PYNC: "pync --ssl --ssl-trustfile certificate.pem 127.0.0.1 {port}",
    "ncat": "ncat --ssl 127.0.0.1 {port}",
    "socat": "socat -u STDIN OPENSSL:127.0.0.1:{port},cafile=certificate.pem",
}
RECEIVE_TLS = {
    PYNC: "pync -l --ssl --ssl-cert certificate.pem 127.0.0.1 {port}",
    "ncat": "ncat -l --recv-only --ssl --ssl-cert certificate.pem --ssl-key certificate.pem 127.0.0.1 {port}",
    "socat": "socat -u OPENSSL-LISTEN:{port},bind=127.0.0.1,cert=certificate.pem,verify=0 STDOUT",
}
OFFER_TLS = {  # a server that sends what it reads
    PYNC: RECEIVE_TLS[PYNC],
    "ncat": RECEIVE_TLS["ncat"].replace("--recv-only", "--send-only"),
    "socat": "socat -u STDIN OPENSSL-LISTEN:{port},bind=127.0.0.1,cert=certificate.pem,verify=0",
}
FETCH_TLS = {  # and its client
    PYNC: SEND_TLS[PYNC],
    "ncat": "ncat --recv-only --ssl 127.0.0.1 {port}",
    "socat": "socat -u OPENSSL:127.0.0.1:{port},cafile=certificate.pem STDOUT",
}
FORWARD = {
    PYNC: "pync -lk --to 127.0.0.1:{target} 127.0.0.1 {port}",
    "ncat": "ncat -lk -c 'ncat 127.0.0.1 {target}' 127.0.0.1 {port}",
    "socat": "socat TCP-LISTEN:{port},bind=127.0.0.1,fork TCP:127.0.0.1:{target}",
}
# For each connection ncat starts another one, which is all that one would measure.
FORWARD_OPENS = {tool: line for tool, line in FORWARD.items() if tool != "ncat"}
FORWARD_BULK = {**FORWARD, BARE: "bare forward {port} {target}"}
PROXY = {
    PYNC: "pync -lk --proxy-server http 127.0.0.1 {port}",
    "ncat": "ncat -lk --proxy-type http 127.0.0.1 {port}",
    "tinyproxy": "sh -c 'printf \"Port {port}\\nListen 127.0.0.1\\n\" | tinyproxy -d -c /dev/stdin'",
}
HUB = {
    PYNC: "pync -l --broker 127.0.0.1 {port}",
    "ncat": "ncat -l --broker --max-conns 1000 127.0.0.1 {port}",
}
PROBE = {
    PYNC: "pync -z 127.0.0.1 {port}",
    "nc.openbsd": "nc.openbsd -z 127.0.0.1 {port}",
    "ncat": "ncat -z 127.0.0.1 {port}",
    "nc.traditional": "nc.traditional -z 127.0.0.1 {port}",
    "socat": "socat -u OPEN:/dev/null TCP:127.0.0.1:{port}",
    BARE: "python -c pass",
}


def installed() -> list[str]:
    """The tools that are there."""
    return [tool for tool, program in TOOLS.items() if program == "python" or shutil.which(_program(program))]


def argv(commands: Mapping[str, str], tool: str, port: int, target: int = 0) -> list[str]:
    """The words of a tool's command line."""
    line = commands[tool].format(port=port, target=target, cat=shutil.which("cat"), tr=shutil.which("tr"))
    first, *rest = shlex.split(line)
    if first == "bare":
        return [sys.executable, "-I", str(Path(__file__).with_name("bare.py")), *rest]
    return [_program(first), *rest]


def _program(name: str) -> str:
    """The path of a program of this environment; any other as it is."""
    own = {"pync": "pync", "python": Path(sys.executable).name}
    return str(Path(sys.executable).with_name(own[name])) if name in own else name
