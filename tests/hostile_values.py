"""Hostile input, as data: for each place of a config the values, and whether it takes or refuses them.

A value that is taken arrives as it was written, byte for byte, and as data: an argument, an entry of
an archive, an environment variable; never within the text of a script of ours. One that is refused is
told in one line. Nothing else may happen.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import socket
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from phases import p06_files
from phases.core.variables import in_image
from phases.protocol import Copy, FromImage, RequirePaths, Run, SetImageConfig
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from phases.core.model import Habitat

#: What a place is offered, by what is odd about it.
KINDS = {
    "nothing odd": "plain",
    "a space": "two words",
    "spaces around": "  padded  ",
    "a single quote": "it's",
    "double quotes": 'say "hi"',
    "backslashes": "back\\slash\\n",
    "a newline": "one\ntwo",
    "a newline at the end": "one\n",
    "a carriage return": "one\rtwo",
    "a tab": "one\ttwo",
    "a substitution": "$(touch pwned)",
    "backticks": "`touch pwned`",
    "a semicolon": "a; touch pwned",
    "and": "a && touch pwned",
    "a pipe": "a | tee pwned",
    "a redirection": "a > pwned",
    "a star": "*",
    "a glob": "a?[b]{c,d}",
    "a tilde": "~",
    "somebody's home": "~root",
    "percents": "%s%n%41",
    "a hash": "a #b",
    "an equals sign": "a=b",
    "variables": "$5 ${HOME} $$",
    "a dash": "-x",
    "two dashes": "--",
    "an option": "--upload-pack=touch pwned",
    "a template": "{{.Id}} {0}",
    "markup": "[bold]x",
    "combining": "e\u0301\u0323",
    "composed": "\u00e9",
    "right to left": "\u202egnp.exe",
    "emoji": "\U0001f469\u200d\U0001f680\U0001f3f3\ufe0f",
    "zero width": "a\u200bb",
    "a byte order mark": "\ufeffx",
    "a line separator": "a\u2028b",
    "a next line": "a\x85b",
    "a hard space": "\u00a0x\u00a0",
    "control": "\x01\x02",
    "a bell": "\x07",
    "an escape": "\x1b[2J\x1b[31m",
    "a title": "\x1b]0;owned\x07",
    "a C1 escape": "\x9b2J",
    "a delete": "\x7f",
    "a NUL": "a\0b",
    "10 kB": "x" * 10_000,
    "200 kB": "x" * 200_000,
    "nothing": "",
    "a dot": ".",
    "two dots": "..",
    "parents": "../../../absent",
    "a slash": "/",
    "slashes": "//",
    "a Windows path": "C:\\Users\\x",
    "a colon": "a:b",
    "a null": "null",
    "a no": "no",
    "an octal": "0755",
    "a float": "1.10",
    "a date": "2026-11-24",
    "a huge number": "9" * 500,
    "a negative number": "-1",
    "infinity": ".inf",
    "a merge key": "<<",
    "a mapping": "{a: b}",
}

ALL = frozenset(KINDS)


def having(*signs: str) -> frozenset[str]:
    """The kinds with any of these signs in them."""
    return frozenset(kind for kind, value in KINDS.items() if any(sign in value for sign in signs))


CONTROL = having(*map(chr, range(32)))
NUL = having("\0")
#: What has no room on a command line of Linux, and what has none in the name of a file.
TOO_LONG = frozenset({"200 kB"})
NO_FILE_NAME = frozenset({"10 kB", "a huge number"}) | TOO_LONG
UPWARDS = having("..")
DASHES = frozenset(kind for kind, value in KINDS.items() if value.startswith("-"))
ROOTS = frozenset({"a slash", "slashes", "two dots"})
ENGINE = frozenset({"a slash", "slashes"})  # which hold the engine's socket
DEEP = frozenset({"parents"})
_DOTS = frozenset({"a dot", "two dots"})
HOMES = frozenset({"a tilde", "somebody's home"})
WORDS = frozenset({"nothing odd", "a null", "a no"})


def quoted(value: str) -> str:
    """As every section but `setup` wants it, where a dollar sign begins a variable."""
    return value.replace("$", "$$")


@dataclass(frozen=True)
class Place:
    """A place in a config.

    config: what is written there for a value; arrives: what the plan holds of it, to be equal to
    `meant(value)`; refused: the kinds that are not taken; more: further values, and whether they are
    taken; on_host: the file that the value names is made first; elsewhere: kinds that are not offered,
    since they lead into folders of whoever runs this; script: the person's own, which is what is run.
    """

    name: str
    config: Callable[[str], dict[str, Any]]
    arrives: Callable[[Habitat], Any]
    refused: frozenset[str]
    meant: Callable[[str], Any] = str
    more: dict[str, bool] = field(default_factory=dict)
    on_host: bool = False
    elsewhere: frozenset[str] = frozenset()
    script: bool = False


def only(*kinds: str | Iterable[str]) -> frozenset[str]:
    """The kinds that are refused where just these are taken."""
    taken = {kind for one in kinds for kind in ((one,) if isinstance(one, str) else one)}
    assert taken <= ALL, taken - ALL
    return ALL - taken


# What of a plan holds the value


def steps(habitat: Habitat, phase: str) -> list[Any]:
    return list(named(phase).plan(habitat))


def scripts(habitat: Habitat) -> list[str]:
    """The text of every script, in order."""
    phases = ("users", "setup", "repos", "tools", "test")
    return [step.script for phase in phases for step in steps(habitat, phase) if isinstance(step, Run)]


def _set(phase: str, name: str) -> Callable[[Habitat], str]:
    """What `name` is set to by a phase."""

    def find(habitat: Habitat) -> str:
        made = [
            step.env[name] for step in steps(habitat, phase) if isinstance(step, SetImageConfig) and name in step.env
        ]
        ((template, origin),) = made
        return in_image(template, {}, origin)

    return find


def _put(phase: str, what: str) -> Callable[[Habitat], str]:
    """A field of the last entry that a phase puts."""

    def find(habitat: Habitat) -> str:
        entries = [entry for step in steps(habitat, phase) if isinstance(step, Copy) for entry in step.entries]
        return str(getattr(entries[-1], what))

    return find


def _arg(number: int) -> Callable[[Habitat], str]:
    return lambda habitat: str(next(s for s in steps(habitat, "repos") if isinstance(s, Run)).args[number])


def _run(phase: str, what: str) -> Callable[[Habitat], str]:
    return lambda habitat: str(getattr([s for s in steps(habitat, phase) if isinstance(s, Run)][-1], what))


def _required(habitat: Habitat) -> str:
    return next(str(step.paths[0][0]) for step in steps(habitat, "verify") if isinstance(step, RequirePaths))


def _image(habitat: Habitat) -> str:
    return next(str(step.reference) for step in steps(habitat, "base") if isinstance(step, FromImage))


# What is written for a value


def _env(name: str, prefix: str = "") -> Callable[[str], dict[str, Any]]:
    return lambda value: {"env": [f"{name}={prefix}{quoted(value)}"]}


def _key(*path: str) -> Callable[[str], dict[str, Any]]:
    """A value below keys, variables quoted."""

    def config(value: str) -> dict[str, Any]:
        result: Any = quoted(value)
        for key in reversed(path):
            result = [result] if key == "[]" else {key: result}
        assert isinstance(result, dict)
        return result

    return config


def _file(key: str, prefix: str = "") -> Callable[[str], dict[str, Any]]:
    return lambda value: {"files": [{"source": "note", "dest": "/odd/x", key: prefix + quoted(value)}]}


def _entry_file(key: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {"entry": _file(key)(value)}


def _entry_copy(field: str) -> Callable[[Habitat], str]:
    """A field of what is copied for the first entry of `entry.files`."""

    def find(habitat: Habitat) -> str:
        return str(getattr(p06_files.copy_file(habitat, habitat.entry.files[0]).entries[0], field))

    return find


def _volume(key: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {"volumes": [{"source": "note", "dest": "/odd/x", key: quoted(value)}]}


def _repo(key: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {"repos": [{"url": "/srv/x", "path": "/odd/x", key: quoted(value)}]}


def inside(value: str) -> str:
    """Where a path in the habitat leads: from the home, else relative to WORKDIR."""
    if value == "~" or value.startswith("~/"):
        return posixpath.normpath(value)
    return posixpath.normpath("/" + posixpath.join("/workspace", value).lstrip("/"))


def is_folder(value: str) -> bool:
    """Whether a path means a folder by its end."""
    return value == "~" or posixpath.basename(value) in ("", ".", "..")


def persisted(value: str) -> str:
    """The same, with a slash at its end where it is a folder."""
    return inside(value) + ("/" if posixpath.basename(value) in ("", ".", "..") else "")


PATHS = CONTROL | NO_FILE_NAME | {"nothing"}
VARIABLE_PATHS = (PATHS - {"nothing"}) | UPWARDS | having(":")
NAMES = only(WORDS, "a float", "a date")
GIT_WORDS = (
    CONTROL | having(" ", "~", "^", ":", "?", "*", "[", "\\", "..", "\x7f") | DASHES | NO_FILE_NAME
    | {"a dot", "a slash", "slashes", "infinity"}
)  # fmt: skip

PLACES = (
    Place("name", _key("name"), lambda h: h.name, only("nothing"), lambda _: "demo", {"demo": True, "Demo": False}),
    Place(
        "description", _key("description"), lambda h: h.description, NUL, lambda text: " ".join(quoted(text).split())
    ),
    Place(
        "base_image",
        lambda value: {"base_image": value},
        _image,
        only(WORDS, "an octal", "a float", "a date", "a colon"),
        more={
            "registry.example.org:5000/a/b:1.0": True,
            "debian@sha256:" + "0" * 64: True,
            "localhost/x": True,
            "../containers/x": False,
            "a/../b": False,
            "a//b": False,
            "Debian": False,
            "debian:": False,
            "debian:-x": False,
            "debian@sha256:0": False,
            "debian?fromImage=x": False,
            "debian:" + "x" * 129: False,
        },
    ),
    Place(
        "env name",
        lambda value: {"env": [f"{value}=x"]},
        lambda habitat: next(iter(steps(habitat, "env")[0].env)),
        only(WORDS, "10 kB", "an equals sign"),
        lambda value: value.partition("=")[0],
        {"\u00e4": False, "1A": False, "A-B": False, " A": False, "A ": False, "BASH_FUNC_ls%%": False},
    ),
    Place("env value", _env("ODD"), _set("env", "ODD"), NUL | TOO_LONG),
    Place(
        "USER",
        _env("USER"),
        _set("users", "USER"),
        NAMES - {"nothing"},
        more={"a.b-c_d": True, "a:b": False, "0": False, "\u00e9ve": False, "x" * 33: False},
    ),
    Place(
        "uid",
        _key("uid"),
        lambda habitat: str(habitat.user_ids and habitat.user_ids.uid),
        ALL - {"nothing"},
        lambda value: value or "None",
        {"1234": True, "2147483647": True, "2147483648": False, "0": False, "\u0667": False, "1 ": False},
        elsewhere=frozenset({"nothing"}),  # is as if it weren't written, and so another plan
    ),
    Place("WORKDIR", _env("WORKDIR", "/odd/"), _set("workdir", "WORKDIR"), VARIABLE_PATHS, "/odd/{}".format),
    *(
        Place(name, _env(name, "/odd/"), _set("habitat", name), VARIABLE_PATHS, "/odd/{}".format)
        for name in ("HABITAT_PATH", "SYSTEM_PATH", "SHARED_PATH", "LOCAL_PATH")
    ),
    Place(
        "files.source",
        _file("source"),
        lambda habitat: habitat.files[0].shown,
        PATHS | {"parents"},
        on_host=True,
        elsewhere=ROOTS | HOMES | {"a dot"},
        more={"note\n": False, "/proc/self/mem/x": False, "~nobody-here/x": False},
    ),
    Place(
        "files.dest",
        _file("dest"),
        _put("files", "dest"),
        PATHS,
        lambda value: f"{inside(value).rstrip('/')}/note" if is_folder(value) else inside(value),
        {"~/../x": False, "~/..": False},
    ),
    Place(
        "files.owner",
        _file("owner"),
        _put("files", "owner"),
        NAMES - {"nothing", "a colon", "an octal"},
        lambda value: value or "agent",
        {"a:b:c": False, ":b": False, "a:": False, "a:-x": False, "\u0662": False},
    ),
    Place(
        "files.mode",
        _file("mode"),
        _put("files", "mode"),
        only("an octal", "nothing"),
        lambda value: str(int(value or "644", 8)),
        {"07777": False, "4755": True, "0o755": False, "\u0667\u0667\u0667": False, "0_7": False},
    ),
    Place(
        "entry.files source",
        _entry_file("source"),
        lambda habitat: habitat.entry.files[0].shown,
        PATHS | {"parents"},
        on_host=True,
        elsewhere=ROOTS | HOMES | {"a dot"},
        more={"note\n": False, "/proc/self/mem/x": False, "~nobody-here/x": False},
    ),
    Place(
        "entry.files dest",
        _entry_file("dest"),
        _entry_copy("dest"),
        PATHS,
        lambda value: f"{inside(value).rstrip('/')}/note" if is_folder(value) else inside(value),
        {"~/../x": False, "~/..": False, "/run/secrets": False, "/proc/x": False, "/etc/hosts": False, "/etc/x": True},
    ),
    Place(
        "entry.files owner",
        _entry_file("owner"),
        _entry_copy("owner"),
        NAMES - {"nothing", "a colon", "an octal"},
        lambda value: value or "agent",
        {"a:b:c": False, ":b": False, "a:": False, "a:-x": False, "\u0662": False},
    ),
    Place(
        "entry.files mode",
        _entry_file("mode"),
        _entry_copy("mode"),
        only("an octal", "nothing"),
        lambda value: str(int(value or "644", 8)),
        {"07777": False, "4755": True, "0o755": False, "\u0667\u0667\u0667": False, "0_7": False},
    ),
    Place(
        "volumes.source",
        _volume("source"),
        lambda h: h.volumes[0].shown,
        # Folders that are config or a home, and a hidden file in a habitat's.
        PATHS | ENGINE | HOMES | {"parents", "a dot", "two dots", "infinity"},
        on_host=True,
    ),
    Place(
        "volumes.dest",
        _volume("dest"),
        lambda habitat: habitat.volumes[0].dest,
        PATHS | ROOTS,
        inside,
        {"~/x": True, "~/..": False, "/proc/..": False},
    ),
    Place(
        "setup user",
        lambda value: {"setup": {value: ["true"]}},
        _run("setup", "user"),
        NAMES - {"an octal"},
        more={"x" * 33: False},
    ),
    Place(
        "setup run_as",
        lambda value: {"setup": [{"run_as": value, "commands": ["true"]}]},
        _run("setup", "user"),
        NAMES - {"an octal"},
    ),
    Place(
        "setup script",
        lambda value: {"setup": {"root": [value]}},
        _run("setup", "script"),
        NUL | TOO_LONG,
        script=True,
    ),
    Place(
        "hooks script",
        lambda value: {"hooks": [{"after": "env", "run_as": "root", "commands": [value]}]},
        _run("env", "script"),
        NUL | TOO_LONG,
        script=True,
    ),
    Place(
        "hooks run_as",
        lambda value: {"hooks": [{"before": "final", "run_as": value, "commands": ["true"]}]},
        _run("final", "user"),
        NAMES - {"an octal"},
    ),
    Place(
        "hooks description",
        lambda value: {"hooks": [{"before": "repos", "description": value, "commands": ["true"]}]},
        lambda habitat: habitat.hooks[0].description,
        NUL,
        lambda value: " ".join(value.split()),
    ),
    Place(
        "hooks.before",
        lambda value: {"hooks": [{"before": value, "commands": ["true"]}]},
        lambda habitat: habitat.hooks[0].point.phase,
        only("nothing"),
        lambda value: value or "setup",
        {"final": True, "base": False, "Setup": False, " env": False},
    ),
    Place(
        "files.after",
        _file("after"),
        lambda habitat: getattr(habitat.files[0].point, "phase", ""),
        only("nothing"),
        more={"final": True, "base": True, "dockerfile": False},
    ),
    Place(
        "repos.url",
        _repo("url"),
        _arg(0),
        # A path of this machine, which has no repository there.
        CONTROL
        | having(" ", "\x7f")
        | DASHES
        | NO_FILE_NAME - {"a huge number"}
        | {"nothing", *DEEP, *_DOTS, "a tilde"},
        more={
            "https://example.org/a.git": True,
            "https://user@example.org/a.git": True,
            "https://example.org:8443/a@b.git": True,
            "ssh://git@[::1]:22/a.git": True,
            "git@example.org:a/b.git": True,
            "git+ssh://example.org/a": True,
            "file:///srv/git/a": True,
            "ext::sh -c touch% pwned": False,
            "ext::sh": False,
            "fd::17": False,
            "Any-Thing.1+2::x": False,
            "made-up://example.org/x": False,
            "ssh://-oProxyCommand=touch/x": False,
            "ssh://user@-oProxyCommand=touch/x": False,
            "ssh://[-oProxyCommand=touch]/x": False,
            "user@-oProxyCommand=touch:x": False,
            "-oProxyCommand=touch:x": False,
            "host:-x": True,
            "https://user:secret@example.org/a.git": False,
            "https://:secret@example.org/a.git": False,
            "HTTPS://user:secret@example.org/a.git": False,
            "ssh://user:secret@example.org/a.git": False,
            "https://user:p@ss@example.org/a.git": False,
        },
    ),
    Place("repos.path", _repo("path"), _arg(1), PATHS, inside, {"~/../x": False}),
    Place("repos.branch", _repo("branch"), _arg(2), GIT_WORDS, more={"feature/a.b": True, "a/.b": False}),
    Place(
        "repos.ref",
        _repo("ref"),
        _arg(3),
        GIT_WORDS,
        more={
            "v1.0": True,
            "0" * 40: True,
            "refs/pull/1/head": True,
            "--exec=touch": False,
            "a..b": False,
            "@{-1}": False,
            "@": False,
            "main@{1}": False,
            "HEAD~1": False,
            "v1^{tree}": False,
            ":/text": False,
            "+refs/heads/*:refs/heads/*": False,
            "a.lock": False,
            "a.lock/b": False,
            "a.": False,
            "a//b": False,
            "/a": False,
            "a/": False,
        },
    ),
    Place(
        "repos.depth",
        _repo("depth"),
        lambda habitat: str(habitat.repos[0].depth),
        ALL,
        more={"7": True, "0": True, "2147483647": True, "2147483648": False, "\u0667": False},
    ),
    *(
        Place(
            f"repos.{key}",
            _repo(key),
            lambda habitat, key=key: str(getattr(habitat.repos[0], key)).lower(),  # type: ignore[misc]
            ALL,
            more={"true": True, "false": True, "yes": False},
        )
        for key in ("submodules", "lfs")
    ),
    Place(  # false adds a script, whose arguments are a path and a name
        "repos.writable",
        _repo("writable"),
        lambda habitat: str(habitat.repos[0].writable).lower(),
        ALL,
        more={"true": True, "no": False},
    ),
    Place(
        "repos.owner",
        _repo("owner"),
        _put("repos", "owner"),
        NAMES - {"nothing", "a colon", "an octal"},
        lambda value: value or "agent",
    ),
    Place(
        "repos.setup",
        lambda value: {"repos": [{"url": "/srv/x", "path": "/odd/x", "setup": [value]}]},
        _run("repos", "script"),
        NUL | TOO_LONG,
        script=True,
    ),
    Place("verify-fs", _key("verify-fs", "required_files", "[]"), _required, PATHS, inside, {"~/../x": False}),
    Place(
        "tests",
        _key("tests", "[]"),
        _run("test", "args"),
        PATHS | ROOTS | HOMES | UPWARDS | {"a dot"},
        lambda value: str((f"/habitat/local/{value}",)),
        on_host=True,
    ),
    Place(
        "entry.command",
        _key("entry", "command"),
        lambda habitat: steps(habitat, "final")[-1].command[-1],
        NUL | TOO_LONG,
        lambda value: value or "/bin/sh",
        {"x" * 50_000: True, "\u00e9" * 40_000: False},
    ),
    Place(
        "entry.init_command",
        _key("entry", "init_command"),
        lambda habitat: habitat.entry.init_command,
        NUL | TOO_LONG,
        more={"   ": False, "\n": False},
    ),
    Place(
        "entry.login",
        _key("entry", "login"),
        lambda habitat: habitat.entry.login,
        NUL | TOO_LONG,
        more={"   ": False, "\n": False},
    ),
    Place(
        "entry.startup_delay",
        _key("entry", "startup_delay"),
        lambda habitat: habitat.entry.startup_delay,
        only("a float"),
        float,
        {"nan": False, "inf": False, "1e9": False, "86400": True},
    ),
    Place(
        "entry.ready",
        _key("entry", "ready"),
        lambda habitat: habitat.entry.ready.command if habitat.entry.ready else "",
        NUL | TOO_LONG,
        more={"   ": False, "\n": False, "x" * 131_071: True, "x" * 131_072: False},
    ),
    Place(
        "entry.ready.command",
        _key("entry", "ready", "command"),
        lambda habitat: habitat.entry.ready.command if habitat.entry.ready else "",
        NUL | TOO_LONG,
        more={"   ": False},
    ),
    *(
        Place(
            f"entry.ready.{key}",
            lambda value, key=key: {"entry": {"ready": {"command": "true", key: quoted(value)}}},  # type: ignore[misc]
            lambda habitat, key=key, none=none: {none: ""}.get(found := getattr(habitat.entry.ready, key), found),  # type: ignore[misc]
            only("an octal", "nothing"),
            lambda value: int(value) if value else "",
            {"0": False, "-1": False, "1.5s": False, "1h" + " " * 100_000 + "x": False, "\u0663m": False, "$$A": False},
        )
        for key, none in (("interval", 1), ("timeout", 60))
    ),
    Place(
        "entry.ports",
        _key("entry", "ports", "[]"),
        lambda habitat: str(habitat.entry.ports[0]),
        ALL,
        "127.0.0.1:{0}:{0}/tcp".format,
        {
            "1": True,
            "65535": True,
            "65536": False,
            "0": False,
            "0080": False,
            "80/sctp": False,
            "80/TCP": False,
            "80:80:80": False,
            "80:": False,
            " 80": False,
            "80\n": False,
            "\u0668\u0660": False,
            "0x50": False,
            "1-2": False,
            "127.1:80:80": False,
            "127.0.0.01:80:80": False,
            "2130706433:80:80": False,
            "localhost:80:80": False,
            "::1:80:80": False,
            "[::1%lo]:80:80": False,
            "[::1:80:80": False,
            "[" + ":" * 100_000 + "]:80:80": False,
            "1" * 200_000 + ":80": False,
            "127.0.0.1:80:80/tcp;touch pwned": False,
        },
    ),
    Place(
        "entry.env name",
        lambda value: {"entry": {"env": [f"{value}=x"]}},
        lambda habitat: habitat.entry.env[0].name,
        only(WORDS, "10 kB", "an equals sign"),
        lambda value: value.partition("=")[0],
        {"\u00e4": False, "1A": False, " A": False, "USER": False, "WORKDIR": False, "LOCAL_PATH": False, "HOME": True},
    ),
    Place(
        "entry.env value",
        lambda value: {"entry": {"env": [f"ODD={quoted(value)}"]}},
        lambda habitat: habitat.entry.env[0].value,
        NUL | TOO_LONG,
        quoted,
    ),
    Place(
        "instructions",
        _key("instructions", "[]"),
        lambda habitat: habitat.instructions[0].text,
        NUL,
        quoted,
    ),
    Place(
        "entry.instruction_files",
        _key("entry", "instruction_files", "[]"),
        lambda habitat: habitat.entry.instruction_files[0],
        ALL,
        inside,
        {"~/.a": True, "~/x/../y": True, "~/..": False, "~/": False, "~": False, "/etc/x": False, "x": False},
    ),
    Place(
        "entry.persist.path",
        lambda value: {"entry": {"persist": [{"path": quoted(value)}]}},
        lambda habitat: habitat.entry.persist[0].path,
        PATHS | ROOTS | {"a tilde", "a dot"},
        persisted,
    ),
    Place(
        "entry.persist",
        _key("entry", "persist", "[]"),
        lambda habitat: habitat.entry.persist[0].path,
        PATHS | ROOTS | {"a tilde", "a dot"},
        persisted,
        {
            "~/.cache/": True,
            "~/x/../y": True,
            "~/..": False,
            "~/": False,
            "/workspace/": False,
            "/habitat/local": False,
            "/workspace/../workspace": False,
            "/proc/x": False,
            "/sys/": False,
            "/dev/shm/x": False,
            "/run/secrets/x": False,
            "/run": False,
            "/usr//": False,
            "/usr/local/share/x/": True,
            "/var/lib/habitat/x": False,
            "/var/lib": False,
        },
    ),
    Place(
        "caches",
        _key("caches", "[]"),
        lambda habitat: habitat.caches[0].path,
        PATHS | ROOTS | {"a tilde", "a dot"},
        inside,
        {
            "~/.npm": True,
            "/var/cache/apt": True,
            "/var/lib/apt/lists/": True,
            "~/x/../y": True,
            "~/..": False,
            "/habitat": False,
            "/workspace/../workspace": False,
            "/proc/x": False,
            "/dev/shm": False,
            "/run/x": False,
            "/run/secrets": False,
            "/usr//": False,
            "/var/lib/habitat": False,
        },
    ),
    Place(
        "caches.path",
        lambda value: {"caches": [{"path": quoted(value), "sharing": "locked"}]},
        lambda habitat: habitat.caches[0].path,
        PATHS | ROOTS | {"a tilde", "a dot"},
        inside,
    ),
    Place(
        "caches.sharing",
        lambda value: {"caches": [{"path": "/odd/x", "sharing": quoted(value)}]},
        lambda habitat: {False: "shared", True: "locked"}[habitat.caches[0].locked],
        only("nothing"),
        lambda value: value or "shared",
        {"shared": True, "locked": True, "private": False, "Locked": False},
    ),
    Place(
        "timeouts phase", lambda v: {"timeouts": {v: "3m"}}, lambda h: next(iter(h.timeouts)), ALL, more={"test": True}
    ),
    Place(
        "timeouts value",
        _key("timeouts", "setup"),
        lambda habitat: habitat.timeouts["setup"],
        only("an octal"),
        lambda value: str(int(value)),
        {"1h" + " " * 100_000 + "x": False, "0": False, "9" * 12 + "h": False, "1h 1h": False, "\u0663m": False},
    ),
    Place(
        "debug", _key("debug"), lambda h: str(h.debug).lower(), ALL, more={"true": True, "false": True, "yes": False}
    ),
)


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Case:
    """A value at a place. taken: else refused."""

    place: Place
    kind: str
    value: str
    taken: bool

    def __str__(self) -> str:
        return f"{self.place.name}: {self.kind}"

    def config(self) -> str:
        """The whole config.yaml, its values in double quotes with everything odd escaped."""
        whole = {"base_image": "debian", **self.place.config(self.value)}
        return str(yaml.dump(whole, Dumper=_Dumper, default_style='"', width=2**30, sort_keys=False))


def _cases(place: Place) -> Iterable[Case]:
    for kind, value in KINDS.items():
        if kind in place.elsewhere:
            continue
        yield Case(place, kind, value, kind not in place.refused)
    for value, taken in place.more.items():
        yield Case(place, ascii(value[:40]), value, taken)


CASES = tuple(case for place in PLACES for case in _cases(place))


def make_on_host(folder: Path, value: str) -> None:
    """A file in `folder` of that name, where there can be one."""
    if value in ("", ".", "..") or "/" in value or "\0" in value or len(value) > 255:
        return
    (folder / value).write_text("#!/bin/sh\n")


# Whole files

_BASE = "base_image: debian\n"


def _laughs(depth: int) -> str:
    """Aliases of aliases: ten times as many values with each."""
    rows = ["x0: &x0 [ha]"]
    rows += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]" for i in range(1, depth)]
    return "\n".join(rows)


def _env_rows(*entries: str) -> str:
    return "env:\n" + "".join(f"  - {entry}\n" for entry in entries)


#: What follows `base_image: debian` in a config.yaml, and whether that is taken.
YAML: dict[str, tuple[str | bytes, bool]] = {
    "nothing": ("", True),
    "a billion laughs": (_laughs(10), False),
    "an alias in itself": ("env: &a [*a]", False),
    "an alias in itself, deeper": ("entry: &a {command: {x: *a}}", False),
    "300,000 aliases": ("x: &a b\nenv: [" + "*a," * 300_000 + "]", False),
    "a billion laughs of variables": (_env_rows("X0=ha", *(f"X{i}={f'$X{i - 1}' * 10}" for i in range(1, 12))), False),
    "2^60 ways to nothing": (_env_rows("X0=", *(f"X{i}=$X{i - 1}$X{i - 1}" for i in range(1, 61))), True),
    "5,000 times 100 kB": (_env_rows("X=" + "x" * 100_000, *(f"X{i}=$X" for i in range(5_000))), False),
    "100,000 times 100 kB": (_env_rows("X=" + "x" * 100_000) + "description: " + "$X" * 100_000, True),
    "100,000 times 100 kB of a command": (
        _env_rows("X=" + "x" * 100_000) + "entry: {command: " + "$X" * 100_000 + "}",
        False,
    ),
    "5,000 variables in a row": (_env_rows(*(f"X{i}=$X{i + 1}" for i in range(5_000)), "X5000=x"), False),
    "5,000 definitions of one": (_env_rows("X=x", *["X=$X"] * 5_000), False),
    "40,000 names to choose from": (
        _env_rows(*(f"X{i}=" for i in range(40_000))) + "entry: {command: $ZZZZ}",
        False,
    ),
    "a merge key": ("<<: {description: x}", False),
    "a merge key within": ("entry:\n  <<: {command: x}", False),
    "a merge key for a user": ("setup:\n  <<: {root: [x]}", False),
    "a call of Python": ("description: !!python/object/apply:os.system [touch pwned]", False),
    "a name of Python": ("description: !!python/name:os.system", False),
    "a module of Python": ("env: !!python/tuple [A=1]", False),
    "binary": ("description: !!binary aGk=", False),
    "a set": ("entry: !!set {command}", False),
    "an ordered mapping": ("entry: !!omap [command: x]", False),
    "a tag of one's own": ("description: !mine x", False),
    "a tag by its whole name": ("description: !<tag:example.org,2026:x> x", False),
    "the tag of text": ("description: !!str x", True),
    "a key twice": ("description: a\ndescription: b", False),
    "two documents": ("---\nname: demo", False),
    "a document of its own": ("...\n", True),
    "something after the end": ("...\n}", False),
    "a tab": ("entry:\n\tcommand: x", False),
    "a NUL": (b"description: a\0b", False),
    "an escape": (b"description: a\x1b[2J", False),
    "an escaped escape": ('description: "a\\e[2J"', True),
    "half a sign": ('description: "\\ud800"', False),
    "Latin-1": (b"description: caf\xe9", False),
    "half a sign in bytes": (b"description: \xed\xa0\x80", False),
    "overlong": (b"description: \xc0\xaf", False),
    "lines of Windows": (b"description: x\r\nentry:\r\n  command: x\r\n", True),
    "lines of an old Mac": (b"description: x\rentry:\r  command: x\r", True),
    "a list for a key": ("? [a]\n: b", False),
    "a mapping for a key": ("? {a: b}\n: c", False),
    "an alias for a key": ("description: &a name\n*a : demo", True),
    "nothing for a key": ("~: x", False),
    "an empty key": ('"": x', False),
    "a newline in a key": ('"a\\nb": x', False),
    "an escape in a key": ('"\\e[2J": x', False),
    "a NUL in a key": ('"a\\0b": x', False),
    "a message in a key": ('"a` - at `$.env[0]": x', False),
    "a path in a key": ('setup: {"a]b[3].c": 3}', False),
    "a key of 10 kB": ("? " + "x" * 10_000 + "\n: y", False),
    "a user of 10 kB": ("setup:\n  ? " + "x" * 10_000 + "\n  : [y]", False),
    "60,000 keys": ("\n".join(f"k{i}: x" for i in range(60_000)), False),
    "200,000 values": ("env: [" + "a," * 200_000 + "]", False),
    "900,000 blank lines, then an error": ("\n" * 900_000 + "[", False),
    "100,000 empty blocks, then an error": ("env:\n" + "- |\n" * 100_000 + "[", False),
    **{
        f"nested {depth:,} deep in {sign!r}": ("env: " + sign * depth, False)
        for depth in (60, 5000, 200_000)
        for sign in ("[", "{", "[a: ")
    },
    "more than 1 MB": ("# " + "x" * 1_000_000, False),
}


def yaml_file(kind: str) -> bytes:
    text = YAML[kind][0]
    return _BASE.encode() + (text if isinstance(text, bytes) else text.encode())


#: Files that are no UTF-8 text from the beginning, and whether they are taken.
ENCODINGS = {
    "a byte order mark": (b"\xef\xbb\xbf" + _BASE.encode(), True),
    "UTF-16": (_BASE.encode("utf-16"), False),
    "UTF-16 without a mark": (_BASE.encode("utf-16-le"), False),
    "UTF-32": (_BASE.encode("utf-32"), False),
    "an archive": (b"PK\x03\x04" + bytes(range(256)), False),
    "zeros": (bytes(4096), False),
}


# What can stand where a file is expected


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)  # the whole path may be longer than that of a socket can be


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)


#: Makes at a path what is no file of text, by what it is.
NO_TEXT: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "what can't be read": lambda path: path.symlink_to("/proc/self/mem"),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "5 GB": _sparse,
}


#: What a file of the host may be called, which is anything but for a slash and a NUL.
FILE_NAMES = [value.encode() for value in KINDS.values() if "/" not in value and "\0" not in value and value.strip(".")]
FILE_NAMES = [name for name in FILE_NAMES if len(name) < 255] + [
    b"\xff\xfe",
    b"a\xed\xa0\x80b",
    b"\xe9t\xe9",
    b"x" * 255,
]


# What was tried, for the table at the end of a run

TRIED: dict[str, Counter[str]] = {}


def note(place: str, outcome: str) -> None:
    """outcome: literal or refused."""
    TRIED.setdefault(place, Counter())[outcome] += 1


def table() -> list[str]:
    """What was tried at each place, and what became of it."""
    width = max(map(len, TRIED), default=0)
    rows = [f"{'place':<{width}} {'tried':>6} {'literal':>8} {'refused':>8}"]
    total: Counter[str] = sum(TRIED.values(), Counter())
    for place, counts in [*sorted(TRIED.items()), ("all", total)]:
        rows.append(f"{place:<{width}} {counts.total():>6} {counts['literal']:>8} {counts['refused']:>8}")
    return rows
