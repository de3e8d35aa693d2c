"""A shell for the fake engine: as many words of it as the tests speak."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fake_files import Files, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    #: Takes what is printed, and whether it is on stderr.
    Output = Callable[[bytes, bool], None]


class Exit(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class SleepTooLong(Exception):
    """The script sleeps longer than it may, or for good."""


@dataclass
class Shell:
    """One process. patience: seconds that it may sleep, None for any number; nothing really sleeps."""

    files: Files
    env: Mapping[str, str]
    user: str
    uid: int
    workdir: str
    output: Output
    args: tuple[str, ...] = ()
    patience: float | None = None
    binds: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    memory: Mapping[str, bytes] = field(default_factory=dict)

    def run(self, script: str, *, errexit: bool) -> int:
        """Raises SleepTooLong."""
        code = 0
        try:
            for line in re.split(r"\n|;|&&", script):
                code = self._statement(line.strip())
                if code and errexit:
                    break
        except Exit as end:
            return end.code
        return code

    def _statement(self, line: str) -> int:
        if not line or line.startswith("#"):
            return 0
        line, to_stderr = line.removesuffix(">&2").rstrip(), line.endswith(">&2")
        line, _, target = line.partition(" >")
        if re.fullmatch(r"\w+=[^ ]*", line):
            return 0
        words = shlex.split(re.sub(r"\$(?:(\d)|(\w+)|\{(\w+)\})", self._variable, line))
        printed: list[str] = []
        code = self._builtin(words[0], words[1:], printed)
        text = "".join(printed)
        if code == 127:
            self.output(f"sh: {words[0]}: not found\n".encode(), True)
        elif target:
            self.files.write(self._path(target.strip()), text, uid=self.uid)
        elif text:
            self.output(text.encode(), to_stderr)
        return code

    def _variable(self, match: re.Match[str]) -> str:
        if match[1]:
            return self.args[int(match[1]) - 1] if int(match[1]) <= len(self.args) else ""
        return self.env.get(match[2] or match[3], "")

    def _path(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.workdir or "/", path))

    def _builtin(self, name: str, words: list[str], printed: list[str]) -> int:
        match name:
            case "echo":
                printed.append(" ".join(words) + "\n")
            case "exit":
                raise Exit(int(words[0]) if words else 0)
            case "true" | "trap" | ":" | "false":
                return int(name == "false")
            case "pwd":
                printed.append((self.workdir or "/") + "\n")
            case "id":
                printed.append(self.user + "\n")
            case "touch":
                self.files.add(self._path(words[-1]), Node("file", 0o644, self.uid, self.uid))
            case "head":
                printed.append(self.stdin[: int(words[-1])].decode())
            case "cat":
                return self._cat(words[0], printed)
            case "sleep" | "while":
                self._sleep(float("inf") if name == "while" else float(words[0]))
            case _:
                return 127
        return 0

    def _cat(self, path: str, printed: list[str]) -> int:
        place = self._path(path)
        if place in self.memory:
            printed.append(self.memory[place].decode())
            return 0
        for dest, source in self.binds.items():
            if place == dest or place.startswith(f"{dest}/"):
                with open(source + place[len(dest) :]) as file:  # noqa: PTH123 (text, joined as text)
                    printed.append(file.read())
                return 0
        node = self.files.find(place)
        if node is None:
            self.output(f"cat: {path}: No such file or directory\n".encode(), True)
            return 1
        printed.append(node.content.decode())
        return 0

    def _sleep(self, seconds: float) -> None:
        if self.patience is None:
            if seconds == float("inf"):
                raise SleepTooLong
            return
        self.patience -= seconds
        if self.patience < 0:
            raise SleepTooLong
