"""`python -m pync` is the command `pync`. It lets Ctrl-C end it at once, as `scripts/lib/command` does."""

from __future__ import annotations

from pync.system import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from pync.cli import main  # noqa: E402

main()
