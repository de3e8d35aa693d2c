"""`exec` and `shell` in a habitat, on the fake engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import FakeTerminal, Site, write

from phases.core import commands
from phases.core.errors import HabitatError, StartError
from phases.core.project import Project
from phases.core.runtime import brought_up, visiting

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.engine import Container


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return made(tmp_path)


def made(root: Path, text: str = "") -> Site:
    site = Site(root, f"base_image: base:1\n{text}")
    site.build()
    return site


def container(site: Site) -> Container:
    found = site.engine.container("habitat-demo")
    assert found is not None
    return found


def execute(
    site: Site, *argv: str, typed: bytes = b"", interactive: bool = False
) -> tuple[int, list[tuple[bytes, bool]]]:
    terminal = FakeTerminal(typed=typed, interactive=interactive)
    return commands.execute(site.run_anew(), "demo", argv, terminal), terminal.printed


def test_a_command_runs_as_the_user_in_the_workdir_of_a_container_that_is_stopped_again(site: Site) -> None:
    assert execute(site, "echo", "a=b", "") == (0, [(b"a=b \n", False)])
    command = site.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (("echo", "a=b", ""), "agent", "/workspace")
    assert not container(site).running


def test_its_exit_code_and_its_two_outputs_are_the_commands(site: Site) -> None:
    script = "echo out; echo err >&2; exit 7"
    assert execute(site, "/bin/sh", "-c", script) == (7, [(b"out\n", False), (b"err\n", True)])


def test_it_gets_what_is_put_in(site: Site) -> None:
    assert execute(site, "/bin/sh", "-c", "head -c 11", typed=b"line by line and more") == (
        0,
        [(b"line by lin", False)],
    )


def test_with_a_terminal_it_has_it(site: Site) -> None:
    assert execute(site, "/bin/sh", typed=b"exit 4\n", interactive=True)[0] == 4
    assert site.engine.called("execute_tty")


def test_what_runs_already_is_used_also_when_it_is_of_an_older_image_and_goes_on(site: Site) -> None:
    with visiting(site.run_anew(), "demo", brought_up):
        before = container(site)
        write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
        other = Project(site.root, lambda: site.engine)
        assert commands.execute(other, "demo", ("true",), FakeTerminal(typed=b"")) == 0
        assert container(site) == before
    assert not container(site).running


def test_what_is_not_built_is_told_with_what_builds_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with pytest.raises(StartError) as caught:
        execute(site, "true")
    assert str(caught.value) == "demo: it isn't built yet: doit start:demo builds and starts it"
    assert site.engine.called("create") == []


def test_what_was_built_of_another_config_is_used_and_told(site: Site) -> None:
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
    assert execute(site, "true")[0] == 0
    assert site.notices() == [
        "demo was built from another config than there is now: doit final:demo builds it anew",
    ]


def test_no_command_is_told(site: Site) -> None:
    with pytest.raises(HabitatError, match="demo: there is no command to run: write it like doit exec:demo -- ls -l"):
        execute(site)


def test_what_runs_is_ready_and_what_is_brought_up_has_its_delay(tmp_path: Path) -> None:
    site = made(tmp_path, "entry: {startup_delay: 0.1}\n")
    execute(site, "true")
    assert site.notices() == ["giving its init 0.1s"]
    site.engine.start("habitat-demo")
    execute(site, "true")
    assert site.notices() == []


def test_secrets_of_a_start_reach_it_and_are_stars(tmp_path: Path) -> None:
    site = made(tmp_path, "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n")
    assert execute(site, "cat", "/run/secrets/T") == (0, [(b"***", False)])
    assert site.engine.commands[-1].env == {"T": "s3cret-word"}
