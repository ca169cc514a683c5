"""A private S3 server: OpenStack Swift with its s3api, of Debian's packages, on one directory, gone with the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import private_server

PROGRAMS = ("swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server",
            "memcached")  # fmt: skip
ACCESS_KEY = "test:tester"
SECRET_KEY = "testing"
REGION = "us-east-1"

_PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {proxy}
swift_dir = {directory}
workers = 0
user = {user}
log_level = WARNING
log_address = {directory}/no-log
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = true
check_bucket_owner = false
min_segment_size = 5242880
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
_STORAGE = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
workers = 0
user = {user}
log_level = WARNING
log_address = {directory}/no-log
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
# Its programs read one path of their own for what salts the names of objects: here it is this directory's.
_LAUNCH = """\
import sys
import swift.common.utils as words
words.SWIFT_CONF_FILE = sys.argv[2] + "/swift.conf"
kind = sys.argv[1]
program = "/usr/bin/swift-%s-server" % kind
sys.argv = [program, sys.argv[2] + "/" + kind + ".conf"]
exec(compile(open(program).read(), program, "exec"), {"__name__": "__main__"})
"""
_RINGS = """\
import sys
from swift.common.ring import RingBuilder
for place in sys.argv[2:]:
    kind, port = place.split("=")
    ring = RingBuilder(4, 1, 0)
    ring.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="one", weight=1.0))
    ring.rebalance()
    ring.get_ring().save("%s/%s.ring.gz" % (sys.argv[1], kind))
"""


def lacking() -> str:
    """Why it cannot be started here, or ""."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"needs {', '.join(missing)} (packages swift-proxy, -account, -container, -object, memcached)"
    if not _has_attributes("/dev/shm") and not _has_attributes("/var/tmp"):
        return "needs a file system with extended attributes below /dev/shm or /var/tmp"
    return ""


def _has_attributes(directory: str) -> bool:
    try:
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            os.setxattr(file.name, "user.cais-test", b"x")
    except OSError:
        return False
    return True


class SwiftServer:
    """One proxy and one server of each kind with one device. ``endpoint`` is the URL for S3 clients."""

    def __init__(self) -> None:
        import pwd

        self.directory = private_server.quick_directory("cais-swift-", _has_attributes)
        user = pwd.getpwuid(os.geteuid()).pw_name
        self.port, memcached, *ports = private_server.free_ports(5)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        (self.directory / "devices" / "one").mkdir(parents=True)
        (self.directory / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self._buckets = 0
        self._log = self.directory / "log"
        kinds = dict(zip(("account", "container", "object"), ports, strict=True))
        try:
            memory = [shutil.which("memcached") or "", "-l", "127.0.0.1", "-p", str(memcached), "-m", "16", "-U", "0"]
            self._processes.append(private_server.start([*memory, "-u", user], self._log))
            places = [f"{kind}={port}" for kind, port in kinds.items()]
            subprocess.run(["/usr/bin/python3", "-c", _RINGS, str(self.directory), *places], check=True)
            for kind, port in kinds.items():
                words = _STORAGE.format(kind=kind, port=port, directory=self.directory, user=user)
                (self.directory / f"{kind}.conf").write_text(words)
            words = _PROXY.format(proxy=self.port, memcached=memcached, directory=self.directory, user=user)
            (self.directory / "proxy.conf").write_text(words)
            for kind in (*kinds, "proxy"):
                command = ["/usr/bin/python3", "-c", _LAUNCH, kind, str(self.directory)]
                self._processes.append(private_server.start(command, self._log))
            for port in (memcached, *ports, self.port):
                private_server.until(lambda port=port: self._alive() and private_server.answers(port), "Swift answers")
            private_server.until(self._healthy, "Swift is healthy")
        except BaseException:
            self.close()
            raise

    def _alive(self) -> bool:
        assert all(process.poll() is None for process in self._processes), private_server.tail(self._log)
        return True

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthcheck", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def bucket(self) -> str:
        """A new bucket, made through Swift's own API: the client under test makes none."""
        who = {"X-Auth-User": ACCESS_KEY, "X-Auth-Key": SECRET_KEY}
        asked = urllib.request.Request(f"{self.endpoint}/auth/v1.0", headers=who)
        with urllib.request.urlopen(asked, timeout=10) as answer:
            url, token = answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]
        self._buckets += 1
        name = f"bucket{self._buckets}"
        asked = urllib.request.Request(f"{url}/{name}", method="PUT", headers={"X-Auth-Token": token})
        with urllib.request.urlopen(asked, timeout=10):
            return name

    def close(self) -> None:
        for process in self._processes:
            private_server.stop(process, by=signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)
