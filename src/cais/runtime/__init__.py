"""Runtime: one process tree in one root file system, run by an installed OCI runtime (crun, else runc).

It owns ``<root>/run``: a bundle for each running process tree (``run/<id>``), the runtime's own state (``run/.state``).
It promises that what runs in the foreground does not outlive the process that started it, and that the exit code is the
process's own, or an error that says why it never started.

``find`` chooses the runtime, ``spec`` builds OCI runtime specs (pure), ``users`` and ``mount_points`` look into a root
file system that may be hostile, ``runner`` runs, ``steps`` is what a build needs of all this. Containers and builds
enter; images and layers are unknown here.
"""
