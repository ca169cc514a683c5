"""Container: an image's object. Records, the plan of what to run (pure), runs in the foreground and detached, logs.

It owns the tables ``containers`` and ``container_volumes``, and ``<root>/containers/<id>`` (log, files of /etc). It
promises that a container's state is what is true, not what was noted last: a record that says "running" is believed
only while the process is there. The engine enters; it brings the image's parts, as images are unknown here.
"""
