"""`python -m pync` is the command `pync`. What it does about signals is explained in `scripts/lib/command`."""

from __future__ import annotations

from pync.system import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

if hasattr(signal, "SIGUSR1") and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
    signal.signal(signal.SIGUSR1, lambda *_: None)

from pync.cli import main  # noqa: E402

main()
