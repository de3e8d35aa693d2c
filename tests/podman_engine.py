"""A Podman for tests, which speaks Docker's API: a service of their own, far from any Podman of the machine.

It runs in namespaces as a private dockerd does, so its bridge, its firewall rules and its mounts are seen there only,
and all of it ends with the tests. Its images and its config are in a folder of its own.
"""

from __future__ import annotations

from private_engine import PrivateEngine

# Folders that all Podmans of a machine share: for sockets, locks, addresses of containers.
_SHARED = ("/run", "/dev/shm", "/var/lib/cni")

# The defaults that are changed: Podman's limits are higher than a machine may allow, and there may be no systemd.
_CONFIG = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "{folder}/networks"
"""

# Runs $2… with all its containers in control groups below $1. Podman has one name for the parent of all containers of
# a machine; in a namespace, that parent is below $1 as well.
_IN_CONTROL_GROUPS = """
for all in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$all/cgroup.procs" ] || continue
    mkdir -p "$all/$1/service"
    for folder in "$all/$1" "$all/$1/service"; do
        for file in cpuset.cpus cpuset.mems; do
            # In version 1, a group holds no process until these are set.
            [ ! -e "$all/cgroup.clone_children" ] || [ ! -e "$all/$file" ] || cat "$all/$file" >"$folder/$file"
        done
    done
    echo $$ >"$all/$1/cgroup.procs" || exit 1
done
exec unshare --cgroup --mount sh -c '
for all in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$all/cgroup.procs" ] || continue
    mount --bind "$all/$1" "$all" && echo $$ >"$all/service/cgroup.procs" || exit 1
    [ "$all" != /sys/fs/cgroup ] || break
done
shift
exec "$@"' sh "$@"
"""


class PodmanEngine(PrivateEngine):
    """Use it in a `with`."""

    def start(self) -> None:
        config = self._folder / "containers.conf"
        if not config.exists():
            config.write_text(_CONFIG.format(folder=self._folder))
            for folder in _SHARED:
                self._inside("sh", "-c", 'mkdir -p "$1" && mount -t tmpfs tmpfs "$1"', "sh", folder)
            self._inside("ip", "link", "set", "lo", "up")
        super().start()

    @property
    def _argv(self) -> tuple[str, ...]:
        return (
            *("sh", "-c", _IN_CONTROL_GROUPS, "sh", self._cgroup),
            *("env", f"CONTAINERS_CONF={self._folder}/containers.conf", "podman"),
            *("--root", str(self._data)),
            *("system", "service", "--time=0", self.host),
        )
