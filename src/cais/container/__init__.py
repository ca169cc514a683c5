"""Container: an image's object. Records, the plan of what to run (pure), runs in the foreground and detached, logs.

It owns the tables ``containers`` and ``container_volumes``, and ``<root>/containers/<id>`` (log, files of /etc). It
promises that a container's state is what is true, not what was noted last: a record that says "running" is believed
only while the process is there.

Two commands on one container: each container has a lock (``<id>/lock``, by ``store.locked``), which gives the record
as it is at that moment. It is held while a container is started, paused, resumed or removed, and while what an ended
run left is taken away; so a second start finds it running, and whoever waits behind a removal finds no container. It
is not held while a container runs, nor by what only sends signals: these name one process (pid and start), and so one
run. Names are the database's: a rename is one row. Who reads an exit code holds ``<id>/witness`` shared, and a
container that is removed with its end waits for that. Order: the lock, then the database; never two containers' locks.

The engine enters; it brings the image's parts, as images are unknown here.
"""
