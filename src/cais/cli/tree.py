"""Every command: its words, one line about it, and the module of ``cais.cli.commands`` that declares and runs it.

And the flags that stand before all of them.
"""

from __future__ import annotations

from cais.cli.declare import Flag

GLOBAL_FLAGS = (
    Flag("context", "c", "string", 'Name of the context to run in (overrides CAIS_CONTEXT and "cais context use")',
         complete="context"),
    Flag("host", "H", "string", "Host to run on: ssh://[USER@]HOST[:PORT]"),
    Flag("debug", "D", "", "Enable debug mode (a failure shows where it happened)"),
    Flag("root", "", "string", 'Directory that holds images and containers (or CAIS_ROOT; "cais info" shows it)',
         complete="directory"),
    Flag("version", "v", "", "Print version information and quit"),
)  # fmt: skip

_RUN = "Create and run a new container from an image"
_PULL = "Download an image from a registry"
_PUSH = "Upload an image to a registry"
_PS = "List containers"
_BUILD = "Build an image from a Dockerfile"
_BUILD_LOGS = "Show the logs of the last builds"
_IMAGES = "List images"
_VERSION = "Show the Cais version information"
_INFO = "Display system-wide information"
_ATTACH = "Attach local standard input, output, and error streams to a running container"
_COMMIT = "Create a new image from a container's changes"
_CP = "Copy files/folders between a container and the local filesystem"
_CREATE = "Create a new container"
_DIFF = "Inspect changes to files or directories on a container's filesystem"
_EXEC = "Execute a command in a running container"
_EVENTS = "Get real time events of this root directory"
_EXPORT = "Export a container's filesystem as a tar archive"
_HISTORY = "Show the history of an image"
_IMPORT = "Import the contents from a tarball to create a filesystem image"
_KILL = "Kill one or more running containers"
_LOAD = "Load an image from a tar archive or STDIN"
_LOGS = "Fetch the logs of a container"
_PAUSE = "Pause all processes within one or more containers"
_RENAME = "Rename a container"
_RESTART = "Restart one or more containers"
_RM = "Remove one or more containers"
_RMI = "Remove one or more images"
_SAVE = "Save one or more images to a tar archive (streamed to STDOUT by default)"
_START = "Start one or more stopped containers"
_STATS = "Display a live stream of container(s) resource usage statistics"
_STOP = "Stop one or more running containers"
_PORT = "List port mappings or a specific mapping for the container"
_TAG = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"
_UNPAUSE = "Unpause all processes within one or more containers"
_UPDATE = "Update configuration of one or more containers"
_TOP = "Display the running processes of a container"
_WAIT = "Block until one or more containers stop, then print their exit codes"

# The sections of `cais --help`, in Docker's order: words, module, text.
COMMON = (
    ("run", "container_run", _RUN),
    ("exec", "container_exec", _EXEC),
    ("ps", "container_ls", _PS),
    ("build", "image_build", _BUILD),
    ("pull", "image_pull", _PULL),
    ("push", "image_push", _PUSH),
    ("images", "image_ls", _IMAGES),
    ("login", "login", "Authenticate to a registry"),
    ("logout", "logout", "Log out from a registry"),
    ("search", "search", "Search Docker Hub for images"),
    ("version", "version", _VERSION),
    ("info", "system_info", _INFO),
)
OTHERS = (
    ("attach", "container_attach", _ATTACH),
    ("commit", "container_commit", _COMMIT),
    ("completion", "completion", "Generate the autocompletion script for the specified shell"),
    ("cp", "container_cp", _CP),
    ("create", "container_create", _CREATE),
    ("diff", "container_diff", _DIFF),
    ("events", "system_events", _EVENTS),
    ("export", "container_export", _EXPORT),
    ("history", "image_history", _HISTORY),
    ("import", "image_import", _IMPORT),
    ("inspect", "inspect", "Return low-level information on images, containers, networks and volumes"),
    ("kill", "container_kill", _KILL),
    ("load", "image_load", _LOAD),
    ("logs", "container_logs", _LOGS),
    ("pause", "container_pause", _PAUSE),
    ("port", "container_port", _PORT),
    ("rename", "container_rename", _RENAME),
    ("restart", "container_restart", _RESTART),
    ("rm", "container_rm", _RM),
    ("rmi", "image_rm", _RMI),
    ("save", "image_save", _SAVE),
    ("start", "container_start", _START),
    ("stats", "container_stats", _STATS),
    ("stop", "container_stop", _STOP),
    ("tag", "image_tag", _TAG),
    ("top", "container_top", _TOP),
    ("unpause", "container_unpause", _UNPAUSE),
    ("update", "container_update", _UPDATE),
    ("wait", "container_wait", _WAIT),
)
# Families: what they are about, and their commands.
FAMILIES = {
    "builder": (
        "Manage builds",
        (
            ("bake", "builder_bake", "Build from a file"),
            ("build", "image_build", _BUILD),
            ("debug", "builder_debug", "Open a shell in a step of a build"),
            ("du", "builder_du", "Disk usage"),
            ("context", "builder_context", "Show what a build reads of its context, and what is ignored"),
            ("graph", "builder_graph", "Draw the graph of a build"),
            ("inspect", "builder_inspect", "Inspect current builder instance"),
            ("logs", "builder_logs", _BUILD_LOGS),
            ("ls", "builder_ls", "List builder instances"),
            ("prune", "builder_prune", "Remove build cache"),
        ),
    ),
    "builder history": (
        "Work on the records of builds",
        (
            ("inspect", "builder_history_inspect", "Inspect a build"),
            ("logs", "builder_logs", _BUILD_LOGS),
            ("ls", "builder_history_ls", "List the builds that are kept"),
            ("rm", "builder_history_rm", "Remove records of builds"),
        ),
    ),
    "builder imagetools": (
        "Commands to work on images in registry",
        (
            ("create", "builder_imagetools_create", "Create a new image based on source images"),
            ("inspect", "builder_imagetools_inspect", "Show details of an image in the registry"),
        ),
    ),
    "container": (
        "Manage containers",
        (
            ("attach", "container_attach", _ATTACH),
            ("commit", "container_commit", _COMMIT),
            ("cp", "container_cp", _CP),
            ("create", "container_create", _CREATE),
            ("debug", "container_debug", "Have a shell with its own tools in a container that may have none"),
            ("diff", "container_diff", _DIFF),
            ("edit", "container_edit", "Change ports, mounts, variables of a container that is there"),
            ("exec", "container_exec", _EXEC),
            ("export", "container_export", _EXPORT),
            ("inspect", "container_inspect", "Display detailed information on one or more containers"),
            ("kill", "container_kill", _KILL),
            ("logs", "container_logs", _LOGS),
            ("ls", "container_ls", _PS),
            ("pause", "container_pause", _PAUSE),
            ("port", "container_port", _PORT),
            ("prune", "container_prune", "Remove all stopped containers"),
            ("rename", "container_rename", _RENAME),
            ("restart", "container_restart", _RESTART),
            ("rm", "container_rm", _RM),
            ("run", "container_run", _RUN),
            ("start", "container_start", _START),
            ("stats", "container_stats", _STATS),
            ("stop", "container_stop", _STOP),
            ("top", "container_top", _TOP),
            ("unpause", "container_unpause", _UNPAUSE),
            ("update", "container_update", _UPDATE),
            ("wait", "container_wait", _WAIT),
        ),
    ),
    "context": (
        "Manage contexts",
        (
            ("create", "context_create", "Create a context"),
            ("export", "context_export", "Export a context to a tar archive FILE or a tar stream on STDOUT."),
            ("import", "context_import", "Import a context from a tar file"),
            ("inspect", "context_inspect", "Display detailed information on one or more contexts"),
            ("ls", "context_ls", "List contexts"),
            ("rm", "context_rm", "Remove one or more contexts"),
            ("show", "context_show", "Print the name of the current context"),
            ("update", "context_update", "Update a context"),
            ("use", "context_use", "Set the current cais context"),
        ),
    ),
    "image": (
        "Manage images",
        (
            ("build", "image_build", _BUILD),
            ("copy", "image_copy", "Copy an image between registries, layouts, archives and this host"),
            ("history", "image_history", _HISTORY),
            ("import", "image_import", _IMPORT),
            ("inspect", "image_inspect", "Display detailed information on one or more images"),
            ("load", "image_load", _LOAD),
            ("ls", "image_ls", _IMAGES),
            ("provenance", "image_provenance", "Show how an image was built, as its build has attested it"),
            ("prune", "image_prune", "Remove unused images"),
            ("pull", "image_pull", _PULL),
            ("push", "image_push", _PUSH),
            ("rm", "image_rm", _RMI),
            ("save", "image_save", _SAVE),
            ("sbom", "image_sbom", "Show the bill of materials that was built with an image"),
            ("tag", "image_tag", _TAG),
        ),
    ),
    "manifest": (
        "Manage image manifests and manifest lists",
        (
            ("annotate", "manifest_annotate", "Add additional information to a local image manifest"),
            ("create", "manifest_create", "Create a local manifest list for annotating and pushing to a registry"),
            ("inspect", "manifest_inspect", "Display an image manifest, or manifest list"),
            ("push", "manifest_push", "Push a manifest list to a repository"),
            ("rm", "manifest_rm", "Delete one or more manifest lists from local storage"),
        ),
    ),
    "network": (
        "Manage networks",
        (
            ("connect", "network_connect", "Connect a container to a network"),
            ("create", "network_create", "Create a network"),
            ("disconnect", "network_disconnect", "Disconnect a container from a network"),
            ("inspect", "network_inspect", "Display detailed information on one or more networks"),
            ("ls", "network_ls", "List networks"),
            ("prune", "network_prune", "Remove all unused networks"),
            ("rm", "network_rm", "Remove one or more networks"),
        ),
    ),
    "registry": (
        "Serve images to others",
        (
            ("backup", "registry_backup", "Write a backup of a registry, also while it serves"),
            ("check", "registry_check", "Verify everything that a registry stores"),
            ("gc", "registry_gc", "Collect garbage of a registry, also while it serves"),
            ("import", "registry_import", "Take over what a docker-registry has stored"),
            ("restore", "registry_restore", "Fill an empty registry from a backup"),
            ("serve", "registry_serve", "Serve a registry of images"),
        ),
    ),
    "registry grant": (
        "Manage what users and tokens may do",
        (
            ("add", "registry_grant_add", "Grant somebody what they may do with repositories"),
            ("ls", "registry_grant_ls", "List what is granted to whom"),
            ("rm", "registry_grant_rm", "Take back what somebody is granted on repositories"),
        ),
    ),
    "registry key": (
        "Manage the keys that sign access tokens",
        (
            ("ls", "registry_key_ls", "List the keys that sign access tokens"),
            ("rotate", "registry_key_rotate", "Sign access tokens with a new key from now on"),
        ),
    ),
    "registry organisation": (
        "Manage organisations",
        (
            ("add", "registry_organisation_add", "Add an organisation"),
            ("join", "registry_organisation_join", "Make a user a member of an organisation"),
            ("leave", "registry_organisation_leave", "End a user's membership of an organisation"),
            ("ls", "registry_organisation_ls", "List organisations and their members"),
            ("rm", "registry_organisation_rm", "Remove organisations, with what they are granted"),
        ),
    ),
    "registry repository": (
        "Manage who may read repositories",
        (
            ("ls", "registry_repository_ls", "List repositories, and who may read them"),
            ("update", "registry_repository_update", "Make repositories public or private"),
        ),
    ),
    "registry token": (
        "Manage tokens of programs",
        (
            ("create", "registry_token_create", "Create a token for a program"),
            ("ls", "registry_token_ls", "List tokens"),
            ("revoke", "registry_token_revoke", "Revoke tokens, with what they are granted"),
        ),
    ),
    "registry user": (
        "Manage users",
        (
            ("add", "registry_user_add", "Add a user"),
            ("disable", "registry_user_disable", "Let users in no more"),
            ("enable", "registry_user_enable", "Let users in again that were disabled"),
            ("ls", "registry_user_ls", "List users"),
            ("password", "registry_user_password", "Change the password of a user"),
            ("rm", "registry_user_rm", "Remove users, with what they are granted and their tokens"),
            ("update", "registry_user_update", "Make a user an administrator, or a plain user again"),
        ),
    ),
    "system": (
        "Manage Cais",
        (
            ("check", "system_check", "Verify everything that is stored, and mend what can be"),
            ("df", "system_df", "Show disk usage"),
            ("disable", "system_disable", "Containers do not start with this host any more"),
            ("enable", "system_enable", "Have containers start with this host, by their restart policies"),
            ("events", "system_events", _EVENTS),
            ("info", "system_info", _INFO),
            ("prune", "system_prune", "Remove unused data"),
            ("start", "system_start", "Start the containers that run from boot"),
            ("stop", "system_stop", "Stop all containers before the host goes down"),
        ),
    ),
    "volume": (
        "Manage volumes",
        (
            ("clone", "volume_clone", "Create a volume with the files of another one"),
            ("cp", "volume_cp", "Copy files/folders between a volume and the local filesystem"),
            ("create", "volume_create", "Create a volume"),
            ("export", "volume_export", "Write the files of a volume to a tar archive"),
            ("import", "volume_import", "Replace the files of a volume by those of a tar archive"),
            ("inspect", "volume_inspect", "Display detailed information on one or more volumes"),
            ("ls", "volume_ls", "List volumes"),
            ("prune", "volume_prune", "Remove unused local volumes"),
            ("rename", "volume_rename", "Rename a volume"),
            ("restore", "volume_restore", "Put the files of a snapshot in place of those of its volume"),
            ("rm", "volume_rm", "Remove one or more volumes"),
            ("snapshot", "volume_snapshot", "Keep the files of a volume as they are now"),
            ("update", "volume_update", "Change the labels of a volume"),
        ),
    ),
}
OTHER_FAMILIES = {"buildx": "builder"}
# Other words for a command of a family.
OTHER_WORDS = {"list": "ls", "remove": "rm", "ps": "ls"}
_WITH_PS = "container"


def commands_of(family: str) -> tuple[tuple[str, str, str], ...]:
    """The commands below ``family`` ("" is the top): word, module, text."""
    return FAMILIES[family][1] if family else (*COMMON, *OTHERS)


def families_of(family: str) -> list[tuple[str, str, str]]:
    """The families below ``family`` ("" is the top): word, "", text."""
    start = f"{family} " if family else ""
    found = [(name[len(start) :], "", text) for name, (text, _) in FAMILIES.items() if name.startswith(start)]
    return [row for row in found if row[0] and " " not in row[0]]


def family_of(words: list[str] | tuple[str, ...]) -> str:
    """The longest family that ``words`` begin with, or ""."""
    family = ""
    for word in words[:2]:
        longer = f"{family} {word}" if family else OTHER_FAMILIES.get(word, word)
        if longer not in FAMILIES:
            break
        family = longer
    return family


def module_of(words: list[str] | tuple[str, ...]) -> tuple[str, str]:
    """``(the canonical words, module)`` of a command, or ``("", "")`` where there is none."""
    family = family_of(words)
    rest = words[len(family.split()) :]
    if len(rest) != 1:
        return "", ""
    word = rest[0]
    if family and word in OTHER_WORDS and (word != "ps" or family == _WITH_PS):
        word = OTHER_WORDS[word]
    for name, module, _ in commands_of(family):
        if name == word:
            return f"{family} {name}".lstrip(), module
    return "", ""
