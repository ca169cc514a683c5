"""Carrying out the ops on the file system of a vertex: COPY, ADD and WORKDIR move files, RUN runs a process.

    target     where to write: a mounted file system, or a layer and a view of what is below it
    copy       the rules of COPY and ADD: what goes where, what may replace what
    reuse      files of an earlier result of the same COPY are linked
    hard_links names of one file in a stage stay names of one file
    files      one file from here to there: contents, modes, times, owners, extended attributes
    owners     user and group names, looked up in the image's own files
    archive    ADD of local archives
    directories  WORKDIR
    run        the process of a RUN step, and what stands beside it while it runs
    step_settings  what every RUN of a build gets
    mounts     what ``RUN --mount`` shows a step; agent: SSH agents
    output     what that process says; mask: without the secrets in it

Entered by ``execute``. None reads outside the source tree or writes outside the target, whatever links say.
"""
