"""Coverage-guided fuzzing of everything that reads bytes from outside.

How it works, one module each:

- ``daemon_targets``: what the daemon reads: events, netlink, /proc, cgroups, demands, its
  configuration.
- ``client_targets``: what the client reads: frames, names from the kernel, filters, its settings.
- ``targets``: the table of both, and what a target is.
- ``engine``: one target under atheris, in a process of its own.
- ``__main__``: all targets, one after the other, and how what is found is shown.

A target is a function of bytes that raises nothing but AssertionError, and that only when a claim
does not hold. Seeds are made by code, from the values that the unit tests use. A finding becomes a
unit test of the module that was wrong.
"""
