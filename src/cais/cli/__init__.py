"""The command line door: ``cais``.

It owns what a user of a terminal sees: words, flags, help, tables, templates, progress, exit codes. It translates and
holds no rules of its own: every command is a few calls of the engine. It promises Docker's words, columns, messages and
exit codes for everything that Docker's client does too, and it loads only what the called command needs.

    entry      main(): finds the command, runs it, turns errors into lines and exit codes
    tree       every command: its words, one line of text, and the module that declares it
    declare    Command and Flag: a command as data           arguments   the parser for them (pflag's rules)
    values     what the types of flags accept                help        Docker's help from the data
    docker_flags  Docker's flags per command: what is not declared here is refused by name
    template*  Go templates                                  table       columns, --format, --filter
    units      sizes, ages, durations                        progress*   what builds and transfers show
    others     what others wrote: quoted, or harmless for a terminal (harmless)
    place      where a command runs (contexts)               remote*     by ssh, with files of this host
    completion*  scripts for the shells, and what completes
    call       what a command is handed                      documents   JSON as it is, or by --format
    container_flags, context_flags, list_flags, platforms, moments, registry_operator, registry_records
               what several commands share
    build_call, build_metadata, explain, graph_page, graph_layout, debug_shell, usage_details
               what one command shows, where it is much
    whole_file a file that has its name only when it is complete
    commands/  one module a command: its declaration (COMMAND) and what it does (run)

Who may enter: nobody but the user (``main``). Here, and in ``cais.settings``, the environment is read.
"""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: ``sys.argv``) ask for; returns the exit code. Never raises."""
    from cais.cli.entry import main as run

    return run(arguments)
