"""The stages of `-t`: enough TELNET (RFC 854, RFC 855) to talk to a telnet server. No option is agreed to.

Theory: a command is IAC and one byte. WILL, WONT, DO and DONT are followed by an option; SB opens a subnegotiation that
ends with IAC SE. A command may be cut at any byte, so its beginning is kept until the rest has come. That is three
bytes at most: of a subnegotiation only the fact is kept that one is open. On the network a line ends in CR LF, and CR
NUL is a carriage return alone; here a line ends in LF. So a CR is kept, too, until the byte after it has come.

Must never agree to anything, and must never pass a byte of a command on as data.
"""

from __future__ import annotations

IAC = b"\xff"
SE, SB, WILL, WONT, DO, DONT = 240, 250, 251, 252, 253, 254

# RFC 854: a request to begin something may be refused. A WONT or DONT only states what is so already. To answer those
# too, as nc.openbsd does, lets two such programs answer each other for ever (RFC 1143, section 2).
_REFUSALS = {WILL: DONT, DO: WONT}


class Telnet:
    """The receiving direction: commands are taken out of the data, and the peer's requests are refused."""

    def __init__(self) -> None:
        self._unfinished = b""  # the beginning of a command whose end has not come
        self._held_cr = b""  # a CR whose next byte has not come
        self._answers = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The data alone: IAC IAC is one byte 255, CR LF a newline, CR NUL a carriage return."""
        if self._unfinished or IAC in data:
            data = self._without_commands(self._unfinished + data)
        return self._line_ends(data)

    def flush(self) -> bytes:
        """A CR that came last. A command that broke off is not data."""
        held, self._held_cr = self._held_cr, b""
        return held

    @property
    def waiting(self) -> int:
        """Bytes of refusals that were not taken yet."""
        return len(self._answers)

    def take_refusals(self) -> bytes:
        """The refusals that have to be sent to the peer, without escapes; each is returned once."""
        answers = bytes(self._answers)
        self._answers.clear()
        return answers

    def _without_commands(self, data: bytes) -> bytes:
        plain = bytearray()
        self._unfinished, start = b"", 0
        while (at := data.find(IAC, start)) >= 0:
            plain += data[start:at]
            start = self._command(data, at, plain)
        plain += data[start:]
        return bytes(plain)

    def _command(self, data: bytes, at: int, plain: bytearray) -> int:
        """Obey the command whose IAC is at `at`, and return where it ends. A data byte 255 is added to `plain`."""
        verb = data[at + 1 : at + 2]
        length = 3 if verb and WILL <= verb[0] <= DONT else 2
        if len(data) < at + length:
            self._unfinished = data[at:]
            return len(data)
        if verb[0] == SB:
            return self._skip_subnegotiation(data, at + 2)
        if verb == IAC:
            plain += IAC
        elif verb[0] in _REFUSALS:
            self._answers += bytes((IAC[0], _REFUSALS[verb[0]], data[at + 2]))
        return at + length

    def _skip_subnegotiation(self, data: bytes, start: int) -> int:
        """Where a subnegotiation ends, whose parameters begin at `start`."""
        # Within the parameters IAC is doubled. So an IAC and the byte after it are always skipped together.
        while (at := data.find(IAC, start)) >= 0 and len(data) > at + 1:
            start = at + 2
            if data[at + 1] == SE:
                return start
        self._unfinished = bytes((IAC[0], SB)) + (IAC if at >= 0 else b"")
        return len(data)

    def _line_ends(self, data: bytes) -> bytes:
        """The data with a newline for each CR LF, and CR for each CR NUL (RFC 854, "The NVT printer and keyboard").

        A CR before any other byte, which the RFC forbids, stays as it is.
        """
        if not data:
            return data
        if self._held_cr:
            data = self._held_cr + data
        self._held_cr = data[-1:] if data.endswith(b"\r") else b""
        return data.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r\0", b"\r")


class TelnetKept(Telnet):
    """The receiving direction as other netcats have it: every demand is answered, and nothing is taken out."""

    _answer_to = {WILL: DONT, WONT: DONT, DO: WONT, DONT: WONT}

    def feed(self, data: bytes) -> bytes:
        """The same data."""
        if self._unfinished or IAC in data:
            self._without_commands(self._unfinished + data)
        return data

    def _command(self, data: bytes, at: int, plain: bytearray) -> int:
        verb = data[at + 1 : at + 2]
        answer = self._answer_to.get(verb[0]) if verb else None
        end = at + (3 if answer else 2)
        if len(data) < end:
            self._unfinished = data[at:]
            return len(data)
        if answer:
            self._answers += bytes((IAC[0], answer, data[at + 2]))
        return end


class TelnetEscape:
    """The sending direction: a data byte 255 is doubled (RFC 854). Line ends are left to `-C`."""

    def feed(self, data: bytes) -> bytes:
        """The same data, fit to be sent to a TELNET peer."""
        return data.replace(IAC, IAC + IAC)

    def flush(self) -> bytes:
        """Nothing, because no byte is ever held back."""
        return b""
