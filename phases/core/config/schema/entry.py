"""The keys below `entry:` and `build:`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from phases.core.config import names, units
from phases.core.config.schema.mapping import Mapping, key, one_of, whole
from phases.core.config.schema.sections import EntryFileKeys  # noqa: TC001 (msgspec reads annotations)

#: The values of `entry.network` that are words.
NETWORKS = ("bridge", "none")


class LimitsKeys(Mapping, kw_only=True, frozen=True):
    """The most that a running habitat, or a build, may use; 0 means no limit."""

    memory: Annotated[
        str, key("Such as 512m or 4g. Default: no limit.", pattern=rf"^\s*{whole(units.BYTES)[1:-1]}\s*$")
    ] = ""
    cpus: Annotated[float, key("The number of processors, such as 1.5. Default: no limit.", minimum=0)] = 0
    pids: Annotated[int, key("Processes and threads. Default: 4096.", minimum=0)] = 0


class ReadyKeys(Mapping, kw_only=True, frozen=True):
    """A command that is tried until it succeeds; then the habitat is ready."""

    command: Annotated[str, key("Runs as USER in WORKDIR, with the secrets of a start.")]
    interval: Annotated[str, key("From the end of one try to the next. Default: 1s.")] = ""
    timeout: Annotated[str, key("Of all tries; then the start fails. Default: 60s.")] = ""


class NetworkKeys(Mapping, kw_only=True, frozen=True):
    """The hosts that a running habitat may reach, and no others: see docs/network.md."""

    allow: Annotated[
        list[str], key("Hosts: example.org, *.example.org, example.org:8443; ports 443 and 80 where none is given.")
    ] = []
    learn: Annotated[
        bool, key("true allows each host, and notes it: `habitat network NAME --as-config` prints the list.")
    ] = False


class PersistKeys(Mapping, kw_only=True, frozen=True):
    """A path that outlives the container and its image."""

    path: Annotated[str, key("Absolute, in USER's home (~/…), or relative to WORKDIR. A folder ends with a slash.")]
    shared: Annotated[bool, key("true: one volume for all habitats of a person; folders only. Default: false.")] = False


class EntryKeys(Mapping, kw_only=True, frozen=True):
    """How the habitat runs after its build."""

    init_command: Annotated[str, key("The main process, as root. Default: an init that waits and reaps.")] = ""
    startup_delay: Annotated[
        float, key("Seconds before the command runs, or `ready` is tried.", minimum=0, maximum=units.DAY)
    ] = 0
    ready: Annotated[
        str | ReadyKeys, key("A command, as USER in WORKDIR, tried until it succeeds: then the habitat is ready.")
    ] = ""
    command: Annotated[
        str,
        key("Runs at a start, as USER in WORKDIR; $$ leaves a variable to the shell there. Default: a shell."),
    ] = ""
    network: Annotated[
        Annotated[str, msgspec.Meta(extra_json_schema={"pattern": one_of(NETWORKS)})] | NetworkKeys,
        key("bridge, none, or the hosts that may be reached: `{allow: [example.org]}`. Default: bridge."),
    ] = ""
    hosts: Annotated[
        list[str], key("Hosts that what is installed here needs: allowed where `network` names hosts, else no matter.")
    ] = []
    ports: Annotated[
        list[str],
        key("On 127.0.0.1 unless an address is given: 3000, 8080:3000, 0.0.0.0:9000:9000; 0:3000 picks a free one."),
    ] = []
    limits: LimitsKeys = LimitsKeys()
    shm_size: Annotated[
        str, key("Size of /dev/shm, such as 1g. Default: 64m.", pattern=rf"^\s*{whole(units.BYTES)[1:-1]}\s*$")
    ] = ""
    login: Annotated[str, key("The login of its agent, which `habitat login NAME` runs on a terminal.")] = ""
    ssh_agent: Annotated[
        bool, key("true lends your SSH agent to the habitat while a start, shell or exec runs. Default: false.")
    ] = False
    env: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{names.VARIABLE.pattern}="})]],
        key("NAME=value, as in env:, for all that runs in the habitat: no build and no image has them."),
    ] = []
    files: Annotated[
        list[EntryFileKeys], key("Files and folders of the host, copied in before each start: in no image.")
    ] = []
    instruction_files: Annotated[
        list[str], key("Files in USER's home that get `instructions:` at each start, where agents read them.")
    ] = []
    persist: Annotated[
        list[str | PersistKeys],
        key("Paths that outlive the container and its image; a folder ends with a slash."),
    ] = []


class BuildKeys(Mapping, kw_only=True, frozen=True):
    """Confines the commands of a build, except those of a Dockerfile."""

    limits: LimitsKeys = LimitsKeys()
    new_privileges: Annotated[
        bool, key("true: commands may gain privileges, as sudo does. Default: false, as in a running habitat.")
    ] = False
