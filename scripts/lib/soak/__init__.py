"""Random sessions with servers that run for long, for scripts/soak; scripts/load uses its servers, too.

- `servers` starts a `pync -lk` for each mode, and reads what the kernel knows about it.
- `wire` has the client's end of a connection: what is sent, how it is checked, and how it ends.
- `sessions` has the kinds of sessions with each server. Session N of a seed is always the same.
- `shared` has those in which many clients share a stream, and `datagrams` those over UDP.
- `cli` runs them from several threads, and shows a table.

All traffic stays on the loopback interface. Every wait has a deadline, and processes are ended by their ids.
"""


class Lost(Exception):
    """Other bytes came than were sent, or none in time."""
