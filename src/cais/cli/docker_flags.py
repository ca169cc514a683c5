"""The flags of Docker's client, per command, so that what Cais does not have yet is refused by its name.

Facts read off its help (Docker 28): ``name`` or ``letter/name``, separated by spaces. A flag that a command of Cais
declares is found before anyone looks here, so that nothing needs to be taken away when a flag is built. ``SAME`` are
other words for a command. Loaded only when a flag is not known.
"""

from __future__ import annotations

FLAGS = {
    "builder bake": "f/file load metadata-file no-cache print progress provenance pull push sbom set",
    "builder du": "filter verbose",
    "builder imagetools create": "annotation append dry-run f/file progress t/tag",
    "builder imagetools inspect": "format raw",
    "builder prune": "a/all filter f/force keep-storage verbose",
    "container attach": "detach-keys no-stdin sig-proxy",
    "container commit": "a/author c/change m/message p/pause",
    "container cp": "a/archive L/follow-link q/quiet",
    "container exec": "d/detach detach-keys e/env env-file i/interactive privileged t/tty u/user w/workdir",
    "container export": "o/output",
    "container inspect": "f/format s/size",
    "container kill": "s/signal",
    "container logs": "details f/follow since n/tail t/timestamps until",
    "container ls": "a/all f/filter format n/last l/latest no-trunc q/quiet s/size",
    "container prune": "filter f/force",
    "container restart": "s/signal t/timeout",
    "container rm": "f/force l/link v/volumes",
    "container run": (
        "add-host annotation a/attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns "
        "cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime c/cpu-shares cpus "
        "cpuset-cpus cpuset-mems d/detach detach-keys device device-cgroup-rule device-read-bps device-read-iops "
        "device-write-bps device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint "
        "e/env env-file expose gpus group-add health-cmd health-interval health-retries health-start-interval "
        "health-start-period health-timeout h/hostname init i/interactive io-maxbandwidth io-maxiops ip ip6 ipc "
        "isolation kernel-memory l/label label-file link link-local-ip log-driver log-opt mac-address m/memory "
        "memory-reservation memory-swap memory-swappiness mount name network network-alias no-healthcheck "
        "oom-kill-disable oom-score-adj pid pids-limit platform privileged p/publish P/publish-all pull q/quiet "
        "read-only restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl "
        "tmpfs t/tty ulimit use-api-socket u/user userns uts v/volume volume-driver volumes-from w/workdir"
    ),
    "container start": "a/attach checkpoint checkpoint-dir detach-keys i/interactive",
    "container stats": "a/all format no-stream no-trunc",
    "container stop": "s/signal t/timeout",
    "container update": (
        "blkio-weight cpu-period cpu-quota cpu-rt-period cpu-rt-runtime c/cpu-shares cpus cpuset-cpus cpuset-mems "
        "m/memory memory-reservation memory-swap pids-limit restart"
    ),
    "context create": "description docker from",
    "context inspect": "f/format",
    "context ls": "format q/quiet",
    "context rm": "f/force",
    "context update": "description docker",
    "events": "f/filter format since until",
    "image build": (
        "add-host allow annotation attest build-arg build-context cache-from cache-to cgroup-parent compress "
        "cpu-period cpu-quota c/cpu-shares cpuset-cpus cpuset-mems disable-content-trust f/file force-rm iidfile "
        "isolation label load m/memory memory-swap metadata-file network no-cache no-cache-filter o/output "
        "platform progress provenance pull push q/quiet rm sbom secret security-opt shm-size squash ssh t/tag "
        "target ulimit"
    ),
    "image history": "format H/human no-trunc platform q/quiet",
    "image import": "c/change m/message platform",
    "image inspect": "f/format platform",
    "image load": "i/input platform q/quiet",
    "image ls": "a/all digests f/filter format no-trunc q/quiet tree",
    "image prune": "a/all filter f/force",
    "image pull": "a/all-tags disable-content-trust platform q/quiet",
    "image push": "a/all-tags disable-content-trust q/quiet",
    "image rm": "f/force no-prune platform",
    "image save": "o/output platform",
    "inspect": "f/format s/size type",
    "login": "p/password password-stdin u/username",
    "manifest annotate": "arch os os-features os-version variant",
    "manifest create": "a/amend insecure",
    "manifest inspect": "insecure v/verbose",
    "manifest push": "insecure p/purge",
    "network connect": "alias driver-opt gw-priority ip ip6 link link-local-ip",
    "network create": (
        "attachable aux-address config-from config-only d/driver gateway ingress internal ip-range ipam-driver "
        "ipam-opt ipv4 ipv6 label o/opt scope subnet"
    ),
    "network disconnect": "f/force",
    "network inspect": "f/format v/verbose",
    "network ls": "f/filter format no-trunc q/quiet",
    "network prune": "filter f/force",
    "network rm": "f/force",
    "search": "f/filter format limit no-trunc",
    "system df": "format v/verbose",
    "system events": "f/filter format since until",
    "system info": "f/format",
    "system prune": "a/all filter f/force volumes",
    "version": "f/format",
    "volume create": (
        "availability d/driver group label limit-bytes o/opt required-bytes scope secret sharing "
        "topology-preferred topology-required type"
    ),
    "volume inspect": "f/format",
    "volume ls": "cluster f/filter format q/quiet",
    "volume prune": "filter f/force",
    "volume rm": "f/force",
}

SAME = {
    "attach": "container attach",
    "build": "image build",
    "builder build": "image build",
    "commit": "container commit",
    "container create": "container run",
    "cp": "container cp",
    "create": "container run",
    "diff": "container diff",
    "exec": "container exec",
    "export": "container export",
    "history": "image history",
    "images": "image ls",
    "import": "image import",
    "info": "system info",
    "kill": "container kill",
    "load": "image load",
    "logs": "container logs",
    "pause": "container pause",
    "port": "container port",
    "ps": "container ls",
    "pull": "image pull",
    "push": "image push",
    "rename": "container rename",
    "restart": "container restart",
    "rm": "container rm",
    "rmi": "image rm",
    "run": "container run",
    "save": "image save",
    "start": "container start",
    "stats": "container stats",
    "stop": "container stop",
    "tag": "image tag",
    "top": "container top",
    "unpause": "container unpause",
    "update": "container update",
    "wait": "container wait",
}


def long_name(words: str, *, long: str = "", short: str = "") -> str:
    """The long name of the flag that Docker's ``words`` has under this name or letter, or ""."""
    for entry in FLAGS.get(SAME.get(words, words), "").split():
        letter, _, name = entry.rpartition("/")
        if (long and name == long) or (short and letter == short):
            return name
    return ""
