"""Change the text of a config.yaml, whose comments and quotes stay."""

from __future__ import annotations

from io import StringIO
from typing import Any

from phases.core.errors import ConfigError

# How the elements of lists are indented, and the dash before them: as the program writes them, and as others do.
_STYLES = ((4, 2), (2, 0), (6, 4), (3, 1))


def _yaml(style: tuple[int, int] = _STYLES[0]) -> Any:
    # Imported here, since few commands need it.
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 20
    sequence, offset = style
    yaml.indent(mapping=2, sequence=sequence, offset=offset)
    return yaml


def document(text: str, shown: str) -> Any:
    """Load a config.yaml with its comments.

    Raises:
        ConfigError: It is not YAML, or not a mapping.
    """
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    try:
        config = _yaml().load(text)
    except YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        problem = getattr(error, "problem", None) or "it can't be parsed"
        remedy = "fix the line, then run the same command"
        raise ConfigError(f"is not YAML: {problem}", where=f"{shown}:{line}", remedy=remedy) from error
    if config is None:
        config = CommentedMap()
    if not isinstance(config, CommentedMap):
        raise ConfigError("must be a mapping of keys to values", where=shown, remedy="see docs/config.md")
    return config


def dump(config: Any, style: tuple[int, int] = _STYLES[0]) -> str:
    """Return the text of a config. style: the indentation of elements, and of the dash before them."""
    stream = StringIO()
    _yaml(style).dump(config, stream)
    return stream.getvalue()


def allow_host(text: str, shown: str, host: str) -> str:
    """Return a config with one more host in `entry.network.allow`. Raises ConfigError if it can't have that."""
    config = document(text, shown)
    style = _style(text, config, shown)
    network = _mapping(config, shown, "entry", "network")
    hosts = network.setdefault("allow", [])
    if not isinstance(hosts, list):
        raise ConfigError("entry.network.allow must be a list", where=shown, remedy="write a list, or leave it out")
    if host not in hosts:
        hosts.append(host)
    return _checked(text, dump(config, style), shown)


def deny_host(text: str, shown: str, host: str) -> str:
    """Return a config without a host in `entry.network.allow`; the same text if it isn't there."""
    config = document(text, shown)
    entry = config.get("entry")
    network = entry.get("network") if isinstance(entry, dict) else None
    hosts = network.get("allow") if isinstance(network, dict) else None
    if not isinstance(hosts, list) or host not in hosts:
        return text
    style = _style(text, config, shown)
    hosts.remove(host)
    return _checked(text, dump(config, style), shown)


def _style(text: str, config: Any, shown: str) -> tuple[int, int]:
    """Return the style in which a text that wasn't changed stays as it is. Raises ConfigError if there is none."""
    for style in _STYLES:
        if dump(config, style) == text:
            return style
    raise _by_hand(shown)


def _checked(before: str, after: str, shown: str) -> str:
    """Return a changed text. Raises ConfigError if more than one line gave way to others, such as a comment."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    if len(old) > 1:
        raise _by_hand(shown)
    return after


def _by_hand(shown: str) -> ConfigError:
    problem = "other lines than those of entry.network.allow would change"
    return ConfigError(problem, where=shown, remedy="write it by hand; until then it counts for now")


def _mapping(config: Any, shown: str, *keys: str) -> Any:
    """Return a mapping below some keys. What is missing is added, and a word gives way to it."""
    from ruamel.yaml.comments import CommentedMap

    for i, key in enumerate(keys):
        if not isinstance(config.get(key), dict):
            if config.get(key) is not None and i + 1 < len(keys):
                raise ConfigError(f"{key} must be a mapping", where=shown, remedy="see docs/config.md")
            config[key] = CommentedMap()
        config = config[key]
    return config
