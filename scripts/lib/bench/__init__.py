"""Measures pync beside the other netcats, for scripts/bench.

- `rows` is the table of what is measured, with pync's goals. `commands` has the command lines of each tool.
- `transfers`, `tls`, `exchanges`, `crowds` and `datagrams` measure. `bare` has the smallest Python programs for the
  same work.
- A measurement runs in a `trial`, which starts each `process`. The `setting` is the sizes and the files of a run.
- `rounds` runs all rows in turn. `figures` and `report` turn the results into a table, a record and a picture.

All traffic stays on the loopback interface. Every program has a deadline and is ended by its process id.
"""


class Wrong(Exception):
    """The tool delivered other bytes than were sent, or it was too late."""


class Unable(Exception):
    """The tool or this machine cannot do it, and another round would show nothing new."""

    def __init__(self, why: str, *reached: float) -> None:
        """`reached`: the figures that the tool came to."""
        super().__init__(why)
        self.reached = reached
