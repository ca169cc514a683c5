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

    options, names             what create, run and exec are asked for; names of containers
    isolation, security, namespaces, devices, resources, storage, networking, network_options, published, mount_options,
    mount_plan, log_options, health, restart
                               what the flags mean, one subject each, as parts of a plan
    plan                       what a container runs and how; edit: another plan for one that is there
    surroundings, spec_oci     the plan on this host at this moment; the OCI runtime spec of it
    records, store, state      the tables; containers made, started, removed; what one really does
    prepare, mounting          the root file system and the mounts, before the runtime starts
    connecting, carrying, rejoining, link_variables
                               its networks: as it starts, by pasta for an ordinary user, while it runs; by links
    starting, foreground, ending
                               start, the way through a run, stop and pause
    attach, attachment, terminal, detach_keys
                               a caller's streams at a container's
    exec, debug, probe         other processes in it: exec, tools of their own, health checks
    watch, waiting             who waits for the next check or start, and weighs little
    log_sink, log_files, log_text, log_large, log_journal, logs
                               where a log is written, and how it is read
    files, copy, diff, export, commit
                               its files: found, copied, compared, put out, made a layer
    views, host_config, mount_views, network_view, command_line
                               what ``ls`` and ``inspect`` show
    happenings                 what happens to it, told to the log of events

The engine enters; it brings the image's parts, as images are unknown here.
"""
