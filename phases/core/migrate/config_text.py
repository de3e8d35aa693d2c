"""The text of a config.yaml: what was there, its comments included, and a draft laid under it."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from phases.core.errors import ConfigError
from phases.core.migrate.result import quoted
from phases.core.model import SHARINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.migrate.result import Draft, Piece

_HEAD = """Made of a Dockerfile by `doit migrate`: each phase does what its instructions did, in an order
that keeps their meaning."""


def _yaml() -> Any:
    # Here, since only one verb of all wants it.
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 20
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def document(text: str, shown: str) -> Any:
    """A config to be rewritten. Raises ConfigError for what is none."""
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    try:
        found = _yaml().load(text)
    except YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        problem = getattr(error, "problem", None) or "something in it"
        raise ConfigError(f"is not YAML: {problem}", where=f"{shown}:{line}", remedy="mend the line") from error
    if found is None:
        found = CommentedMap()
    if not isinstance(found, CommentedMap):
        raise ConfigError("must be a mapping of keys to values", where=shown, remedy="see docs/config.md")
    return found


def dumped(found: Any) -> str:
    stream = StringIO()
    _yaml().dump(found, stream)
    return stream.getvalue()


def lay_under(found: Any, draft: Draft, *, is_list: bool | None) -> None:
    """Add a draft to a document: what it says comes before what is there. is_list: the form of a setup that
    other layers give; None for whichever is shorter.
    """
    fresh = not found
    if draft.description:
        _put(found, "description", draft.description)
    if draft.base_image:
        _put(found, "base_image", draft.base_image)
    _put(found, "dockerfile", False if draft.dockerfile == "false" else draft.dockerfile)
    _prepend(found, "env", draft.env)
    _prepend(found, "files", draft.files)
    _add_secrets(found, draft)
    _add_caches(found, draft)
    _add_setup(found, draft, is_list=is_list)
    if draft.command or draft.remarks:
        _add_entry(found, draft)
    if fresh:
        found.yaml_set_start_comment(_HEAD)
        _space(found)


def _put(found: Any, key: str, value: object) -> None:
    first = ("name", "description", "base_image", "dockerfile")
    place = next((number for number, other in enumerate(found) if other not in first), len(found))
    if key in found:
        found[key] = value
    else:
        found.insert(place, key, value)


def _list(found: Any, key: str) -> Any:
    from ruamel.yaml.comments import CommentedSeq

    if found.get(key) is None:
        found[key] = CommentedSeq()
    return found[key]


def _prepend(found: Any, key: str, pieces: Sequence[Piece], indent: int = 2) -> None:
    if not pieces:
        return
    target = _list(found, key)
    for number, piece in enumerate(pieces):
        target.insert(number, _value(piece.value))
    for number, piece in enumerate(pieces):
        if piece.comment:
            text = "\n".join(line or " " for line in piece.comment)
            target.yaml_set_comment_before_after_key(number, before=text, indent=indent)


def _value(value: str | dict[str, str]) -> Any:
    from ruamel.yaml.comments import CommentedMap

    if isinstance(value, dict):
        return CommentedMap({key: _scalar(text) for key, text in value.items()})
    return _scalar(value)


def _scalar(text: str) -> Any:
    """A text in the style that is read best of those that say it exactly."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if not all(sign.isprintable() or sign in "\n\t" for sign in text):
        return DoubleQuotedScalarString(text)
    if "\n" not in text:
        return text
    rows = text.split("\n")
    if text[0] in " \t\n" or any(re.search(r"\s$", row) for row in rows):
        return DoubleQuotedScalarString(text)
    return LiteralScalarString(text.rstrip("\n") + "\n")


def _add_secrets(found: Any, draft: Draft) -> None:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    for secret in draft.secrets.values():
        same = next((one for one in found.get("secrets") or () if one.get("name") == secret["name"]), None)
        if same is None:
            phases = CommentedSeq(secret["phases"])
            phases.fa.set_flow_style()
            optional = {"optional": True} if secret.get("optional") else {}
            _list(found, "secrets").append(CommentedMap({**secret, "phases": phases, **optional}))
        else:
            wanted = secret["phases"]
            assert isinstance(wanted, list)
            same["phases"] = [
                *(same.get("phases") or ()),
                *(one for one in wanted if one not in (same.get("phases") or ())),
            ]


def _add_caches(found: Any, draft: Draft) -> None:
    from ruamel.yaml.comments import CommentedMap

    there = [one.get("path") if isinstance(one, dict) else one for one in found.get("caches") or ()]
    for path, sharing in draft.caches.items():
        if quoted(path) not in there:
            value = _scalar(quoted(path))
            _list(found, "caches").append(
                value if sharing == SHARINGS[0] else CommentedMap({"path": value, "sharing": sharing})
            )


def _add_setup(found: Any, draft: Draft, *, is_list: bool | None) -> None:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if not draft.setup:
        return
    if not (draft.alternates or is_list):
        target = found.get("setup")
        if target is None:
            target = found["setup"] = CommentedMap()
        for user in ("root", "user"):
            _prepend(target, user, [piece for piece in draft.setup if piece.run_as == user], indent=4)
        return
    blocks: list[Any] = []
    for piece in draft.setup:
        if not blocks or blocks[-1][0] != piece.run_as:
            blocks.append((piece.run_as, []))
        blocks[-1][1].append(piece)
    target = _list(found, "setup")
    for number, (user, pieces) in enumerate(blocks):
        block = CommentedMap({"run_as": user, "commands": CommentedSeq()})
        target.insert(number, block)
        _prepend(block, "commands", pieces, indent=6)


def _add_entry(found: Any, draft: Draft) -> None:
    from ruamel.yaml.comments import CommentedMap

    entry = found.get("entry")
    if entry is None:
        entry = found["entry"] = CommentedMap()
    if draft.command and "command" not in entry:
        entry["command"] = _scalar(draft.command)
    if draft.remarks:
        remark = "The Dockerfile said this, too:\n" + "\n".join(f"  {line}" for line in draft.remarks)
        if entry:
            entry.yaml_set_comment_before_after_key(next(iter(entry)), before=remark, indent=2)
        else:
            del found["entry"]
            last = list(found)[-1]
            found.yaml_set_comment_before_after_key(last, before="entry:\n" + remark)


def _space(found: Any) -> None:
    """An empty line before each section."""
    for key in found:
        if isinstance(found[key], (dict, list)):
            found.yaml_set_comment_before_after_key(key, before="\n")
