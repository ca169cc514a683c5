"""Carrying out the ops on the file system of a vertex: COPY, ADD and WORKDIR move files, RUN runs a process.

    target     where to write: a mounted file system, or a layer and a view of what is below it
    copy       the rules of COPY and ADD: what goes where, what may replace what
    hard_links names of one file in a stage stay names of one file
    files      one file from here to there: contents, modes, times, owners, extended attributes
    owners     user and group names, looked up in the image's own files
    archive    ADD of local archives
    run        the process of a RUN step, and what stands beside it while it runs
    output     what that process says

Entered by ``execute``. None reads outside the source tree or writes outside the target, whatever links say.
"""
