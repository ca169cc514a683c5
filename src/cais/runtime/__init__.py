"""Runtime: one process tree in one root file system, run by an installed OCI runtime (crun, else runc).

It owns ``<root>/run``: a bundle for each running process tree (``run/<id>``), the runtime's own state (``run/.state``).
It promises that what runs in the foreground does not outlive the process that started it, and that the exit code is the
process's own, or an error that says why it never started.

    find           which runtime, cgroups and rights this host has
    spec           OCI runtime specs as values (pure)
    limits, ulimits, host_devices, cdi, seccomp, seccomp_filter
                   parts of a spec, as far as this host can give them
    users, mount_points, network_files
                   what is looked up and made in a root file system that may be hostile
    bundles, boots the directories of runs; what an earlier boot has left in them
    private        what a run has in memory alone
    runner         runs in the foreground; guardian: ends them with who started them
    conmon         runs that are detached
    exec           another process in what runs
    steps          what a build needs of all this
    holder         what an ordinary user's containers share
    cgroup_*       control groups: moved to ahead of time, read, measured, removed
    failures       why a process did not start, in Docker's words

Containers and builds enter; images and layers are unknown here.
"""
