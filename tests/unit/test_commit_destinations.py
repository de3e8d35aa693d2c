"""Which repository of this machine belongs to one in a habitat, and what the checks of `take` may use."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from test_clone import git, repository
from unit_helpers import DemoProject, load, write

from phases.core.commits import destination, trial
from phases.core.commits.image_repository import ImageRepository
from phases.core.commits.limits import limits
from phases.core.commits.merge import Sides
from phases.core.engine.types import Container
from phases.core.errors import HabitatError
from phases.core.work import repositories
from phases.core.work.states import RepositoryState
from phases.protocol import Run, StartInit

if TYPE_CHECKING:
    from phases.core.build.context import PhaseContext
    from phases.core.commits.destination import Match
    from phases.core.model import Habitat

CONFIG = """\
base_image: base:1
env: [USER=agent, WORKDIR=/work]
repos:
  - {{url: "{url}", path: app}}
"""

CONTAINER = Container("id", "habitat-demo", "image", running=True)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A repository of this machine, whose remote is reached by SSH."""
    folder = repository(tmp_path / "here")
    git(folder, "remote", "add", "upstream", "git@example.org:team/app.git")
    return folder


def select(
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
    url: str,
    *states: RepositoryState,
    path: str = "",
    into: str = "",
    folder: Path | None = None,
) -> list[Match]:
    demo = DemoProject(here, CONFIG.format(url=url))
    habitat = demo.project.habitat("demo")
    rows = list(states or [RepositoryState("/work/app", "agent")])
    monkeypatch.setattr(repositories, "states", lambda *_: rows)
    clones = [(repo, "agent", repo.path) for repo in habitat.repos]
    monkeypatch.setattr(repositories, "clones", lambda *_: iter(clones))
    return destination.select(demo.project, habitat, CONTAINER, path, into, folder or here)


@pytest.mark.parametrize("url", ["https://example.org/team/app", "ssh://git@example.org/team/app.git"])
def test_repository_with_the_same_remote_is_the_one_of_the_habitat(
    here: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "deep").mkdir()
    (match,) = select(monkeypatch, here, url, folder=here / "deep")
    assert (match.top, match.reason) == (here, f"it has the remote {url}")


@pytest.mark.parametrize("url", ["https://example.org/team/other", "https://example.com/team/app"])
def test_repository_with_another_remote_is_never_guessed(here: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (match,) = select(monkeypatch, here, url)
    assert match.top is None
    assert "no repository of this machine is known" in match.reason


def test_local_url_names_its_repository_from_any_folder(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (match,) = select(monkeypatch, here, ".", folder=tmp_path)
    assert match.top == here
    assert "config.yaml:4 names it" in match.reason


def test_into_takes_any_repository_and_refuses_what_is_none(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = repository(tmp_path / "other")
    (other / "sub").mkdir()
    git(tmp_path, "clone", "-q", "--bare", str(other), str(tmp_path / "bare"))
    for into, top in ((other / "sub", other), (tmp_path / "bare", tmp_path / "bare")):
        assert select(monkeypatch, here, ".", into=str(into))[0].top == top
    (tmp_path / "none").mkdir()
    for into in (tmp_path / "none", tmp_path / "missing"):
        (match,) = select(monkeypatch, here, ".", into=str(into))
        assert match.top is None
        assert "is in no git repository" in match.reason


def test_repositories_are_those_of_the_config_else_those_in_workdir(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, made, nested = (RepositoryState(path, "agent") for path in ("/work/app", "/work/made", "/work/made/lib"))
    missing = RepositoryState("/work/app", "agent", is_missing=True)
    assert [match.state for match in select(monkeypatch, here, ".", own, made, nested)] == [own]
    assert [match.state for match in select(monkeypatch, here, ".", missing, made, nested)] == [made]
    assert [match.state for match in select(monkeypatch, here, ".", own, made, nested, path="made/lib")] == [nested]
    assert [match.state for match in select(monkeypatch, here, ".", own, made, path="/work/made/")] == [made]
    with pytest.raises(HabitatError, match="no repository nothing") as error:
        select(monkeypatch, here, ".", own, made, path="nothing")
    assert "it has /work/app, /work/made" in str(error.value)
    with pytest.raises(HabitatError, match="--into is for one repository"):
        select(monkeypatch, here, ".", missing, made, RepositoryState("/work/b", "agent"), into=str(here))


@pytest.mark.parametrize(("size", "time"), [("x", "1m"), ("-1", "1m"), ("1g", "0"), ("1g", "x")])
def test_limits_that_are_no_size_or_time_are_refused(size: str, time: str) -> None:
    with pytest.raises(HabitatError, match=r"--(limit|timeout)"):
        limits(size, time)
    assert limits("2m", "90s").size == 2 << 20


# What the checks may use

TRIAL = """\
base_image: base:1
env: [USER=agent, WORKDIR=/work]
repos: [{url: ., path: app}]
volumes: [{source: ./data, dest: /data}]
secrets:
  - {name: both, env: A, phases: [test], start: true}
  - {name: build, env: A, phases: [test]}
build: {new_privileges: true, limits: {memory: 4g}}
entry: {network: none, limits: {memory: 1g}, init_command: sleep 9}
tests: [{run: t.sh, init: true}]
take: {check: [make test]}
"""


@pytest.mark.guarantee("take-gives-no-more")
def test_checks_have_what_the_habitat_has_and_no_more(here: Path) -> None:
    write(here, "data/file")
    write(here, "habitats/demo/t.sh", "#!/bin/sh\n").chmod(0o755)
    demo = DemoProject(here, TRIAL)
    habitat = demo.project.habitat("demo")
    calls: list[tuple[Habitat, list[Any], PhaseContext]] = []

    class FakeBuilder:
        def try_out(self, habitat: Habitat, plan: list[Any], adapt: Any) -> None:
            context = SimpleNamespace(log=Path("/x"), network=True)
            calls.append((habitat, plan, adapt(context)))

    repo = ImageRepository(habitat.repos[0], "agent", "image", habitat)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "replace", replaced)
        trial.run(
            demo.project,
            cast("Any", FakeBuilder()),
            habitat,
            repo,
            here / "pack",
            Sides("main", "a" * 40, "b" * 40),
            "c" * 40,
        )
    ((confined, plan, context),) = calls
    assert confined.volumes == ()
    assert [secret.name for secret in confined.secrets_of("test")] == ["both"]
    assert (confined.build.new_privileges, confined.build.limits.memory) == (False, 1 << 30)
    assert (context.network, context.log.name) == (False, "take.log")
    runs = [step for step in plan if isinstance(step, Run)]
    assert [(step.user, step.workdir) for step in runs if step.script == "make test"] == [("agent", "/work/app")]
    assert [step.keeps for step in plan if isinstance(step, StartInit)] == [True]


def replaced(struct: Any, **changes: Any) -> Any:
    from msgspec.structs import replace

    if isinstance(struct, SimpleNamespace):
        return SimpleNamespace(**{**vars(struct), **changes})
    return replace(struct, **changes)


def test_check_of_take_is_in_no_slice(here: Path) -> None:
    from phases.registry import PHASES

    config = CONFIG.format(url=".")
    one, two = load(here, config), load(here, f"{config}take: {{check: [make]}}\n")
    own = PHASES[1:]  # there is no Dockerfile
    assert [phase.slice(one) for phase in own] == [phase.slice(two) for phase in own]
    assert [(check.script, check.user) for check in two.take_check] == [("make", "agent")]
