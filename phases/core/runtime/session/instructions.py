"""Writes `instructions:` of all layers into the files in which the habitat's agents read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.config.mounts.mountable_paths import within
from phases.core.errors import ConfigError, StartError
from phases.core.files import safe_open
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from phases.core.agent_text import AgentText
    from phases.core.model import Habitat
    from phases.core.runtime.session.session import Session

_WRITE = ShellProgram(__file__, "write_instructions.sh")

# What is between these lines is the program's, all else in a file is the agent's or the person's.
_BEGIN = "<!-- instructions of this habitat's config, written anew at each start -->"
_END = "<!-- end of the instructions of this habitat's config -->"

#: The folder in USER's home with the files of habitats that share the folder in which an agent reads its own.
OWN_FOLDER = ".local/share/habitat"

# Bytes of one text. No agent reads as much.
_MOST = 1_000_000


def deliver(session: Session) -> None:
    """Write the instructions into the container of a session, as USER.

    Raises:
        ConfigError: A file of the host can't be read.
        StartError: A file in the container can't be written.
    """
    habitat = session.habitat
    data = assembled(habitat).encode()
    paths = [_expand(session, path) for path in habitat.entry.instruction_files]
    paths = [path for path in paths if not _is_mounted(session, path)]
    files = [word for path in paths for word in (_own_file(session, path), path)]
    argv = ("/bin/sh", "-e", "-c", "--", _WRITE.text, "sh", str(len(data)), _BEGIN, _END, *files)
    printed: list[tuple[bytes, bool]] = []
    code = session.project.engine.exec(
        session.container.id,
        argv,
        user=session.user,
        workdir="/",
        env=session.env,
        stdin=data,
        on_output=lambda chunk, is_err: printed.append((chunk, is_err)),
    )
    output = b"".join(chunk for chunk, _ in printed).decode(errors="replace").strip()
    if code:
        raise StartError(
            f"instructions: can't be written ({output})",
            where=habitat.instructions[0].origin if habitat.instructions else habitat.name,
            remedy=f"check that {habitat.user} can write {', '.join(habitat.entry.instruction_files)}",
        )
    for line in output.splitlines():
        session.project.bus.emit(events.Notice(habitat.name, line, warning=True))


def assembled(habitat: Habitat) -> str:
    """Return the instructions of all layers in order, with the lines around them; "" without any."""
    texts = [text for entry in habitat.instructions if (text := _text(entry).strip())]
    return "\n".join([_BEGIN, "\n\n".join(texts), _END, ""]) if texts else ""


def _text(entry: AgentText) -> str:
    if entry.source is None:
        return entry.text
    try:
        data = safe_open.read(entry.source, _MOST)
        text = (data or b"").decode()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"instructions: {entry.shown} can't be read ({error})"
        raise ConfigError(problem, where=entry.origin, remedy="name a file with text") from error
    if len(text) > _MOST:
        raise ConfigError(f"instructions: {entry.shown} is too large", where=entry.origin, remedy="name a shorter file")
    return text


def _is_mounted(session: Session, path: str) -> bool:
    """Return whether a path is in a volume, which belongs to the host, and say so."""
    for volume in session.habitat.volumes:
        if volume.present and within(path, _expand(session, volume.dest)):
            text = f"instructions: not written to {path}, since {volume.dest} is a volume ({volume.origin})"
            session.project.bus.emit(events.Notice(session.habitat.name, text, warning=True))
            return True
    return False


def _own_file(session: Session, path: str) -> str:
    """Return the file of this habitat for one in a folder that habitats share, "" for a file elsewhere."""
    shared = [one.path for one in session.habitat.entry.persist if one.shared]
    if not any(within(path, _expand(session, one.rstrip("/"))) for one in shared):
        return ""
    name = path.strip("/").replace("/", "-")
    return _expand(session, f"~/{OWN_FOLDER}/{name}")


def _expand(session: Session, path: str) -> str:
    return session.users.expand(path, session.habitat.user, session.habitat.base_origin)
