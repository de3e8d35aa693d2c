"""Convert the configs of the shared and the system layer of claude-habitat.

The older tool read `system/config.yaml` of the project. The system layer of today is a part of the program, so what
that file has goes into the shared layer, before what the shared layer has itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from phases.core import layout
from phases.core.config import older_form, yaml_tree
from phases.core.errors import ConfigError
from phases.core.files import atomic, safe_open
from phases.core.migrate.older_form import backup, brackets, edits
from phases.core.migrate.older_form.convert import check, convert, refusing
from phases.core.migrate.older_form.document import Document, indented, last_line
from phases.core.migrate.older_form.sections import existing, quoted

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.migrate.older_form.document import Pair
    from phases.core.migrate.result import ReportRow

# Bytes of a config.yaml.
_MOST = 1_000_000

# The name that the older tool's system layer gives itself.
_SYSTEM = "system-setup"


@dataclass(frozen=True)
class MigratedLayer:
    """The config of a layer below the habitat's own.

    Attributes:
        shown: The old file, as messages show it.
        folder: The folder that has it.
        old: Its bytes, None where there was no file.
        text: The text of the new config.yaml in `folder`, None for a file that is a part of another one now.
        rows: The result for each key in the older form.
    """

    shown: str
    folder: Path
    old: bytes | None
    text: str | None
    rows: tuple[ReportRow, ...]

    def write(self) -> None:
        """Keep the old file under another name, and write the new one. Raises StateError."""
        backup.keep(self.path, self.old)
        if self.text is None:
            self.path.unlink(missing_ok=True)
        else:
            atomic.write_if_changed(self.path, self.text.encode())

    @property
    def path(self) -> Path:
        """The config.yaml."""
        return self.folder / "config.yaml"

    @property
    def backup(self) -> str:
        """The name of the file that has the old content once the new one is written, "" for none."""
        return "" if self.old is None else backup.path_for(self.path, self.old).name


def convert_layers(root: Path) -> list[MigratedLayer]:
    """Convert the configs of both layers, those in the older form alone. Raises ConfigError for one that can't be read.

    Returns:
        The shared layer last, since it has what the system layer had.
    """
    folder = layout.shared_folder(root)
    shown = str(folder.relative_to(root) / "config.yaml")
    shared, shared_tree = _read(root, "shared", folder)
    system, system_tree = _read(root, "system", root / "system")
    is_older = bool(older_form.keys(shared_tree))
    name = system_tree.at(("name",))
    if not older_form.keys(system_tree) and not (name and name.value == _SYSTEM):
        system = None
    if not is_older and not system:
        return []
    old = (shared or b"").decode()
    converted = convert(old, shown, is_local=False)
    text, rows = converted.text if is_older else old, converted.rows
    layers = []
    if system:
        document = Document(text)
        brackets.root_to_block(document)
        below = convert(system.decode(), "system/config.yaml", is_local=False)
        layers.append(MigratedLayer("system/config.yaml", root / "system", system, None, tuple(below.rows)))
        with refusing("shared/config.yaml"):
            _put_below(document, _with_paths_from_root(root, below.text))
            check(document.text, "shared/config.yaml")
        text, rows = document.text, [*rows, *document.rows]
    return [*layers, MigratedLayer(shown, folder, shared, text, tuple(rows))]


def _read(root: Path, layer: str, folder: Path) -> tuple[bytes | None, yaml_tree.Tree]:
    path = folder / "config.yaml"
    shown = str(path.relative_to(root))
    tree = yaml_tree.load(path, layer=layer, shown=shown)
    try:
        return safe_open.read(path, _MOST), tree
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", where=shown, remedy="check that it is a file") from error


def _with_paths_from_root(root: Path, text: str) -> Document:
    """Write paths that are relative to system/ as relative to the project."""
    document = Document(text)
    paths = [("files", index, "source") for index in document.indexes("files")]
    for path in (*paths, *(("tests", index) for index in document.indexes("tests"))):
        source = document.scalar(*path)
        node = document.node(*path)
        if source and node and source[0] not in "/~$" and not (root / source).exists():
            edits.replace(document, node, quoted(f"system/{source.removeprefix('./')}"))
    return document


def _put_below(document: Document, below: Document) -> None:
    """Add the sections of another config, the elements of its lists before those of the same list."""
    for name in below.names():
        pair, own = existing(below, name), document.pair(name)
        if own is None or not own.value.value:
            if own:
                edits.remove(document, own)
            start, end = _lines_of(below, pair)
            gap = [""] if document.lines else []
            document.set_lines(len(document.lines), 0, [*gap, *below.lines[start:end]])
        else:
            _put_before(document, below, (name,))


def _put_before(document: Document, below: Document, path: tuple[str, ...]) -> None:
    """Add what a section has to the section of the same name."""
    for each in (document, below):
        brackets.to_block(each, *path)
    own, pair = existing(document, *path), existing(below, *path)
    if _is_block(own.value, yaml.SequenceNode) and _is_block(pair.value, yaml.SequenceNode):
        shift = own.value.start_mark.column - pair.value.start_mark.column
        rows = below.lines[pair.key.start_mark.line + 1 : last_line(pair.value) + 1]
        document.set_lines(own.key.start_mark.line + 1, 0, [indented(row, shift) for row in rows])
    elif _is_block(own.value, yaml.MappingNode) and _is_block(pair.value, yaml.MappingNode):
        for name in below.names(*path):
            _put_pair_before(document, below, (*path, name))
    elif pair.value.value:
        document.report(own.key, ".".join(path), "", "system/config.yaml has another value, which is left out")


def _put_pair_before(document: Document, below: Document, path: tuple[str, ...]) -> None:
    own, whole, pair = document.pair(*path), document.node(*path[:-1]), existing(below, *path)
    assert whole
    if own is not None and own.value.value:
        _put_before(document, below, path)
        return
    start, end = _lines_of(below, pair)
    shift = whole.start_mark.column - pair.key.start_mark.column
    if own is not None:
        place = own.key.start_mark.line
        document.set_lines(place, last_line(own.value, own.key) + 1 - place, [])
    document.set_lines(whole.start_mark.line, 0, [indented(row, shift) for row in below.lines[start:end]])


def _lines_of(document: Document, pair: Pair) -> tuple[int, int]:
    """Return the lines of a pair, with the comment above it: the first, and the one behind the last."""
    return edits.first_line(document, pair), last_line(pair.value, pair.key) + 1


def _is_block(node: yaml.Node, kind: type[yaml.CollectionNode]) -> bool:
    return isinstance(node, kind) and not node.flow_style and bool(node.value)
