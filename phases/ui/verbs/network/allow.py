"""`habitat allow NAME HOST`: let the habitat reach a host, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.project import Project

NAME = "allow"
DESCRIPTION = "Let it reach a host, at once"
EXAMPLE = ("allow", "example.org")
BUILDS = False
HARMLESS = False

#: The option of this verb and of `deny`. It may also be behind the host.
SAVE: dict[str, Any] = {
    "name": "save",
    "long": "save",
    "type": bool,
    "default": False,
    "help": "write it into the habitat's config.yaml, too",
}
OPTIONS: tuple[dict[str, Any], ...] = (SAVE,)
WORDS = "HOST"
PIPES = False


def run(project: Project, name: str, *, save: bool = False, words: Sequence[str] = ()) -> int:
    change(project, name, words, allow=True, save=save)
    return 0


def change(project: Project, name: str, words: Sequence[str], *, allow: bool, save: bool) -> None:
    """Allow or refuse the hosts that a person named. Raises HabitatError."""
    from phases.core import command_form, events
    from phases.core.network import allowed, proxy
    from phases.core.scaffold import host_lists

    verb = "allow" if allow else "deny"
    save = save or "--save" in words
    hosts = [word for word in words if word != "--save"]
    if not hosts:
        raise StartError(f"{verb} needs a host", where=name, remedy=f"`{command_form.verb(verb, name)} example.org`")
    for host in hosts:
        habitat = project.habitat(name)
        rule = allowed.change(project, habitat, host, allow=allow)
        proxy.set_rules(project, habitat)
        text = f"{rule.text} is {'allowed' if allow else 'refused'}"
        if save:
            place = host_lists.save(project.root, habitat, rule, allow=allow)
            later = project.fresh_copy()
            allowed.change(later, habitat := later.habitat(name), host, allow=allow)
            text += f", and {place} says so" if place else "; its own config has not to change"
        elif rule.text in {*allowed.read(project, name).allow, *allowed.read(project, name).deny}:
            text += f" for now: `{command_form.verb(verb, name)} {rule.text} --save` changes the config"
        if not allow and (other := allowed.allowing(habitat, rule)) and other.text != rule.text:
            text += f"; {other.origin} allows {other.text}, but for this"
        if allow and (other := allowed.denying(project, name, rule)):
            text += f", but for {other.text}, which is refused for now: `{command_form.verb(verb, name)} {other.text}`"
        project.bus.emit(events.Notice(name, text))
