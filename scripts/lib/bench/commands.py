"""The command lines of each tool for each use. They are those of the manuals, without any tuning.

The first word is the tool, with four exceptions: `pync` is the one that is installed in this environment, `bare` is one
of the programs in bare.py, `python` is the interpreter that pync and `bare` run on, and `sh` starts tinyproxy. `{port}`
is the port of the connection (of a scan the last port), and `{target}` the port to which a tool connects in its turn.

- `talk` is stdin and stdout, one line at a time. An idle timeout (`cat-relayed`) needs a relay between the connection
  and the program.
- TLS is version 1.3 with the cipher that OpenSSL prefers, and the certificate that tls.py makes. `tls-offer` is a
  server that sends what it reads, and `tls-fetch` its client.
"""

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
PYNC = "pync"
BARE = "bare Python"
TOOLS = (PYNC, "nc.openbsd", "ncat", "nc.traditional", "socat", "busybox", "tinyproxy", BARE)
TABLE = r"""
send         pync 127.0.0.1 {port}
             nc.openbsd -N 127.0.0.1 {port}
             ncat 127.0.0.1 {port}
             nc.traditional -q 0 127.0.0.1 {port}
             socat -u STDIN TCP:127.0.0.1:{port}
             busybox nc 127.0.0.1 {port}
             bare send {port}
receive      pync -l 127.0.0.1 {port}
             nc.openbsd -l 127.0.0.1 {port}
             ncat -l --recv-only 127.0.0.1 {port}
             nc.traditional -l -p {port} -s 127.0.0.1
             socat -u TCP-LISTEN:{port},bind=127.0.0.1 STDOUT
             busybox nc -l -p {port} 127.0.0.1
             bare receive {port}
talk         pync 127.0.0.1 {port}
             nc.openbsd 127.0.0.1 {port}
             ncat 127.0.0.1 {port}
             nc.traditional 127.0.0.1 {port}
             socat STDIO TCP:127.0.0.1:{port}
             busybox nc 127.0.0.1 {port}
             bare talk {port}
cat          pync -l --exec cat 127.0.0.1 {port}
             ncat -l --exec {cat} 127.0.0.1 {port}
             nc.traditional -l -p {port} -s 127.0.0.1 -e {cat}
             socat TCP-LISTEN:{port},bind=127.0.0.1 EXEC:cat
             busybox nc -l -p {port} 127.0.0.1 -e cat
             bare cat {port}
cat-relayed  pync -l --idle-timeout 60 --exec cat 127.0.0.1 {port}
             ncat -l --exec {cat} 127.0.0.1 {port}
             socat TCP-LISTEN:{port},bind=127.0.0.1 EXEC:cat
cats         pync -lk --exec cat 127.0.0.1 {port}
             ncat -lk --exec {cat} 127.0.0.1 {port}
             socat TCP-LISTEN:{port},bind=127.0.0.1,fork,backlog=64 EXEC:cat
             busybox nc -ll -p {port} 127.0.0.1 -e cat
filter       pync -l --filter 'tr a-z A-Z' 127.0.0.1 {port}
             ncat -l --exec '{tr} a-z A-Z' 127.0.0.1 {port}
             socat TCP-LISTEN:{port},bind=127.0.0.1 'EXEC:tr a-z A-Z'
filter-lines pync -l --filter 'tr a-z A-Z' 127.0.0.1 {port}
             ncat -l --exec '{tr} a-z A-Z' 127.0.0.1 {port}
             socat TCP-LISTEN:{port},bind=127.0.0.1 'EXEC:tr a-z A-Z,pty,raw,echo=0'
crowd        pync -lk 127.0.0.1 {port}
             ncat -lk --max-conns 20000 127.0.0.1 {port}
udp-send     pync -u 127.0.0.1 {port}
             nc.openbsd -u 127.0.0.1 {port}
             ncat -u 127.0.0.1 {port}
             nc.traditional -u 127.0.0.1 {port}
             socat -u STDIN UDP:127.0.0.1:{port}
udp-receive  pync -lud 127.0.0.1 {port}
             nc.openbsd -lud 127.0.0.1 {port}
             ncat -lu --recv-only 127.0.0.1 {port}
             nc.traditional -lu -p {port} -s 127.0.0.1
             socat -u UDP-RECV:{port},bind=127.0.0.1 STDOUT
scan         pync -zn 127.0.0.1 1-{port}
             nc.openbsd -zn 127.0.0.1 1-{port}
             nc.traditional -zn 127.0.0.1 1-{port}
tls-send     pync --ssl --ssl-trustfile certificate.pem 127.0.0.1 {port}
             ncat --ssl 127.0.0.1 {port}
             socat -u STDIN OPENSSL:127.0.0.1:{port},cafile=certificate.pem
tls-receive  pync -l --ssl --ssl-cert certificate.pem 127.0.0.1 {port}
             ncat -l --recv-only --ssl --ssl-cert certificate.pem --ssl-key certificate.pem 127.0.0.1 {port}
             socat -u OPENSSL-LISTEN:{port},bind=127.0.0.1,cert=certificate.pem,verify=0 STDOUT
tls-offer    pync -l --ssl --ssl-cert certificate.pem 127.0.0.1 {port}
             ncat -l --send-only --ssl --ssl-cert certificate.pem --ssl-key certificate.pem 127.0.0.1 {port}
             socat -u STDIN OPENSSL-LISTEN:{port},bind=127.0.0.1,cert=certificate.pem,verify=0
tls-fetch    pync --ssl --ssl-trustfile certificate.pem 127.0.0.1 {port}
             ncat --recv-only --ssl 127.0.0.1 {port}
             socat -u OPENSSL:127.0.0.1:{port},cafile=certificate.pem STDOUT
forward      pync -lk --to 127.0.0.1:{target} 127.0.0.1 {port}
             ncat -lk -c 'ncat 127.0.0.1 {target}' 127.0.0.1 {port}
             socat TCP-LISTEN:{port},bind=127.0.0.1,fork TCP:127.0.0.1:{target}
             bare forward {port} {target}
proxy        pync -lk --proxy-server http 127.0.0.1 {port}
             ncat -lk --proxy-type http 127.0.0.1 {port}
             sh -c 'printf "Port {port}\nListen 127.0.0.1\n" | tinyproxy -d -c /dev/stdin'
hub          pync -l --broker 127.0.0.1 {port}
             ncat -l --broker --max-conns 1000 127.0.0.1 {port}
probe        pync -z 127.0.0.1 {port}
             nc.openbsd -z 127.0.0.1 {port}
             ncat -z 127.0.0.1 {port}
             nc.traditional -z 127.0.0.1 {port}
             socat -u OPEN:/dev/null TCP:127.0.0.1:{port}
             python -c pass
"""
TOOL_OF = {"bare": BARE, "python": BARE, "sh": "tinyproxy"}  # by the first word, where that is not the tool itself
OWN = {
    "pync": [str(Path(sys.executable).with_name("pync"))],
    "python": [sys.executable],
    "bare": [sys.executable, "-I", str(Path(__file__).with_name("bare.py"))],
}
Commands = Mapping[str, str]  # by tool


def _commands() -> Mapping[str, Commands]:
    """The command lines of the table by use and tool."""
    found: dict[str, dict[str, str]] = {}
    for line in TABLE.strip().splitlines():
        if not line.startswith(" "):
            use, line = line.split(maxsplit=1)
        first = line.split()[0]
        found.setdefault(use, {})[TOOL_OF.get(first, first)] = line.strip()
    return found


COMMANDS = _commands()


def installed() -> list[str]:
    """The tools that are installed."""
    return [tool for tool in TOOLS if tool == BARE or shutil.which(OWN.get(tool, [tool])[0])]


def argv(line: str, port: int = 0, target: int = 0) -> list[str]:
    """The words of a command line."""
    first, *rest = shlex.split(line.format(port=port, target=target, cat=shutil.which("cat"), tr=shutil.which("tr")))
    return [*OWN.get(first, [first]), *rest]
