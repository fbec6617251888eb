"""What pync/system.py adds to the system's own modules."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from pync.system import packed_address


def packed_by_ipaddress(host: str) -> bytes | None:
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        return None


@given(st.ip_addresses().map(str) | st.text("0123456789abf:.%/") | st.text())
def test_an_address_is_packed_and_anything_else_is_not(host: str) -> None:
    zone = "%" in host  # the ipaddress module takes fe80::1%eth0, but the zone is not in the 16 bytes
    assert packed_address(host) == (None if zone else packed_by_ipaddress(host))
