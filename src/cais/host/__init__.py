"""Host: Linux, and nothing of images.

    files, whole trees: copying, owners, xattrs, quota, selinux
                   written whole or not at all; copied with all that they are; who may own how much of them
    beneath        paths that no link leads out of
    locks, leases  what ends with its process
    database       the local one: SQLite; migrations: its schema; database_errors: what is wrong with it
    tar_reader, tar_writer, tar_extensions
                   tar streams
    compression, parallel_compression
                   streams, compressed and not
    mounts, foreign_mounts, namespaces
                   mounts made real, where nobody else sees them
    processes, process_files, watching
                   named so that no other is meant, waited for, ended; files that are waited for
    beside, ahead, threads, workers
                   work in other threads: one thing beside, one ahead, several
    heaps          what memory that they give back costs
    sockets, http_connections
                   connections to servers, in threads that can be told to stop
    binfmt         programs of other architectures
    syscalls       what Python has no name for

It is handed paths and values and reads no environment. Everything above may enter; it imports only the words.
"""
