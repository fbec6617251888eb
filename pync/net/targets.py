"""Which targets a proxy connects to for its clients: the lists of --proxy-allow and --proxy-deny.

Theory: the lists are those of `access.py`. A proxy for other machines must not lead them to what trusts this machine
alone: the services on its loopback interface, and those on its links, such as the metadata of a cloud. So without a
list of allowed targets these are denied.

A module of its own, because only a proxy has such rules.
"""

from __future__ import annotations

from pync.net.access import load_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Access
    from pync.net.access import Resolve, Rules

# Loopback and link-local addresses, and those that a system takes for itself when they are connected to.
OF_THIS_MACHINE = ("127.0.0.0/8", "::1", "169.254.0.0/16", "fe80::/10", "0.0.0.0/8", "::")


def target_rules(access: Access, resolve: Resolve, *, for_other_machines: bool) -> Rules:
    """The rules for targets. Raises as `load_rules`."""
    if for_other_machines and not (access.allow or access.allow_files):
        access = access.but(deny=(*access.deny, *OF_THIS_MACHINE))
    return load_rules(access, resolve, ("--proxy-allow", "--proxy-deny"))
