"""`make bench`: what the alternatives and we do on this machine, in one run.

The tour: `cases` says what is measured and `targets` what we promise. `servers/` has one file for
each contender; `servers/server.py` starts and stops what they describe. `load` and `transfer` are
the clients, `cpu` reads /proc. `rounds` takes the samples in turn and puts them into `results`.
`tables`, `charts` and `document` show them. Nothing outside `servers/`, `rounds`, `memory`,
`groups`, `load`, `transfer`, `cpu` and `machine` touches a process.
"""
