"""The `__main__.py` of pync.pyz: it runs the pync in the archive, compiled for this Python, or else its source.

It lets Ctrl-C end pync at once, as `scripts/lib/command` does. A Python that is too old must understand it, too.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("pync: needs Python 3.11 or later")

import _signal  # noqa: E402

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from _frozen_importlib import ModuleSpec  # noqa: E402
from _frozen_importlib_external import MAGIC_NUMBER  # noqa: E402
from marshal import loads  # noqa: E402
from zlib import decompress  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any
    from zipimport import zipimporter

    __loader__: zipimporter
    Modules = dict[str, tuple[bool, bytes]]  # whether each is a package, and its code or source, marshalled, deflated


class Archived:
    """Imports what is in the archive, out of memory (importlib.abc.MetaPathFinder and Loader)."""

    def __init__(self, archive: "zipimporter") -> None:
        folder = archive.archive + "/modules/"
        try:
            entry = archive.get_data(folder + MAGIC_NUMBER.hex())
        except OSError:  # it was not compiled for this Python
            entry = archive.get_data(folder + "source")
        self.modules: Modules = loads(entry)

    def find_spec(self: "Any", name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """The spec of a module that is here."""
        return ModuleSpec(name, self, is_package=self.modules[name][0]) if name in self.modules else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Have Python make the usual kind of module."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the code of a module."""
        code = loads(decompress(self.modules[module.__name__][1]))
        if isinstance(code, bytes):
            code = compile(code, "pync.pyz/" + module.__name__, "exec", dont_inherit=True)
        exec(code, module.__dict__)


sys.meta_path.insert(0, Archived(__loader__))

from pync.cli import main  # noqa: E402

main()
