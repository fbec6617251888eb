"""Measures pync beside the other netcats, for scripts/bench.

- `rows` is the registry: what is measured, in which unit, and what pync is to reach.
- `commands` has the command lines of each tool, `bare` the smallest Python programs for the same work.
- `bulk`, `tls`, `exchanges`, `relays`, `crowds`, `hubs`, `datagrams` and `starts` measure. `trial` is what each
  measurement runs in, `moving` carries its payloads, `outcomes` are what may come of it beside a figure.
- `rounds` runs them all in turn, `figures` and `report` make a table, a plot and a record of what came.

All traffic stays on the loopback interface. Whatever is started has a deadline, and is ended by its process id.
"""
