"""Compare two images of a habitat: paths with owners, modes and contents, accounts, and the config.

Times are not compared, and neither is the content of files that no two builds have in common, such as logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING

from phases.core.container import root_environment
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram
from phases.core.migrate.base_image import temporary_container

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phases.core.project import Project

_LIST = ShellProgram(__file__, "list_contents.sh")

_ACCOUNTS = ("passwd", "group", "shadow")


def _pattern(*globs: str) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)))


# The engine or the container itself writes these.
_IGNORED = _pattern("/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/dev", "/proc", "/sys")

# Two builds write other contents here, and other names in the folders of the second pattern.
_DATED = _pattern(
    *(f"/etc/{name}" for name in (*_ACCOUNTS, "gshadow", "*-", "machine-id", "ld.so.cache")),
    *("*/.git/index", "*/.git/logs/*", "*/__pycache__/*.pyc", "/var/cache/*", "/var/lib/apt/*", "/var/log/*"),
)
_FLEETING = _pattern("/etc/*-", "/var/cache/*", "/var/lib/apt/lists/*", "/tmp/*")  # noqa: S108 (names)


@dataclass(frozen=True)
class Contents:
    """The contents of an image.

    Attributes:
        paths: From each path to its kind, mode and owner.
        data: From each file to its digest, and from each link to its target.
        accounts: From a user, a group or a password, as `passwd root`, to its row.
        config: From the name of a setting to its value.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)


def contents(project: Project, name: str, image: str) -> Contents:
    """List the contents of an image of the habitat `name`, by a command in a temporary container.

    Raises:
        EngineError: The image can't be listed: it lacks find, stat or sha256sum.
    """
    engine = project.engine
    with temporary_container(project, name, image, "compare") as container:
        engine.start(container)
        code, text = root_environment.run(engine, container, _LIST.text)
    if code:
        last = next(iter(text.splitlines()[-1:]), f"exit code {code}")
        remedy = "its image needs find, stat and sha256sum: migrate without --split"
        raise EngineError(f"the files of its image can't be listed ({last})", where=name, remedy=remedy)
    config = engine.image_config(image)
    settings = {f"env {key}": value for key, value in config.env.items()} if config else {}
    if config:
        settings |= {"user": config.user, "workdir": config.workdir, "command": " ".join(config.command)}
    return parse(text, settings)


def parse(text: str, config: Mapping[str, str]) -> Contents:
    """Return the contents that `list_contents.sh` prints."""
    parts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if re.fullmatch(r"(paths|files|links|passwd|group|shadow):", line):
            parts[line] = rows = []
        elif parts and line:
            rows.append(line)
    data = {line[66:]: line[:64] for line in parts.get("files:", ())}
    for line in parts.get("links:", ()):
        path, _, target = line.partition(" -> ")
        data[path.strip("'\"`")] = target
    accounts = {}
    for kind in _ACCOUNTS:
        for line in parts.get(f"{kind}:", ()):
            account, _, row = line.partition(":")
            # The day on which a password was set is no difference.
            accounts[f"{kind} {account}"] = re.sub(r"^([^:]*):\d*", r"\1:", row) if kind == "shadow" else row
    return Contents(dict(line.rpartition("|")[::2] for line in parts.get("paths:", ())), data, accounts, config)


def differences(one: Contents, other: Contents) -> list[str]:
    """Return what differs, each a line with what `one` has on the left."""
    rows = [*_unequal(one.config, other.config), *_unequal(one.accounts, other.accounts)]
    paths = [path for path in sorted(one.paths.keys() | other.paths.keys()) if not _IGNORED.fullmatch(path)]
    for path in paths:
        before, after = one.paths.get(path), other.paths.get(path)
        if before is None or after is None:
            if not _FLEETING.fullmatch(path):
                rows.append(f"{path}: only {'with --split' if before is None else 'without --split'}")
        elif before != after:
            rows.append(f"{path}: {before} ≠ {after}")
        elif one.data.get(path) != other.data.get(path) and not _DATED.fullmatch(path):
            rows.append(f"{path}: another content")
    return rows


def _unequal(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    names: Iterable[str] = sorted(one.keys() | other.keys())
    yield from (
        f"{name}: {one.get(name, 'none')} ≠ {other.get(name, 'none')}"
        for name in names
        if one.get(name) != other.get(name)
    )
