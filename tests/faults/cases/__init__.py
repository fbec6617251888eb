"""The faults, as data: each case says what is done to a netcat, which netcats can do it, and what is asked of them.

The scenes in these modules do it. A scene never judges: it gives back an `Outcome` (`tests/support/outcomes.py`), and
one judge compares that with the law of the case. `test_faults.py` plays them to pync, `scripts/faults` to all four.
"""

from __future__ import annotations

from cases import descriptors, idleness, networks, peers, programs, shortage, signals, tls

CASES = [
    case
    for module in (peers, tls, descriptors, signals, programs, shortage, networks, idleness)
    for case in module.CASES
]
