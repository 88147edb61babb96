"""`make bench`: this module and its alternatives on this machine, in one run.

`cases` says what is measured and `targets` what is promised. `servers/` has one file for
each contender; `servers/server.py` starts and stops what they describe. `load`, `transfer`,
`open_loop`, `clients` and `slow_clients` are the clients, `neighbours` are other processes, `cpu`
reads /proc, `pauses` watches the processors. `rounds` takes the samples in turn, `alone` those with
one server up and no other; `results` keeps them, `tables`, `charts` and `document` show them.
`profile` and `functions` are `make profile`. `cases`, `stats`, `results`, `targets`, `tables` and
`charts` are pure; tests/source/test_bench.py tests them.
"""
