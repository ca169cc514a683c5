"""One module a command: ``COMMAND`` declares it, ``run(call)`` does it and returns the exit code.

A module here imports nothing above ``cais.cli.declare`` before it runs, because help and completion load it, too.
Commands that share their flags or output keep what they share in a module named for it (``container_flags``).
"""
