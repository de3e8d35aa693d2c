"""An ejected habitat: docker alone builds the same of it.

HABITATS_EJECT=all goes through all of tests/cases, which takes some minutes.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import BUSYBOX, docker, inspect, snapshots
from image_comparison import differences
from test_cases import CASES, GIT, _lay_out, debian_git

from phases.core.engine.docker_api import buildkit_cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import CommandResult, Project

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

__all__ = ["debian_git"]

#: The case with all that anybody might read something into; or every one.
WALK = sorted(folder.name for folder in CASES.iterdir() if folder.is_dir())
WALK = WALK if os.environ.get("HABITATS_EJECT") == "all" else ["odd-names"]

#: What commands of a case write of where they run: HOSTNAME, and their own group among the further ones.
KNOWN_DIFFERENCES = {"alpine-adduser": ["/home/dev/made"]}

PROXY = "http://proxy.test:3128"

#: Users of the test of identities: root, a third one, USER.
USERS = ("root", "abc", "agent")

CANARY = "canary-5f1c9a7e"


@pytest.fixture
def build_ejected(project: Project, name: str, engine: DockerEngine) -> Iterator[Callable[..., CommandResult]]:
    """Eject the habitat, and build it in the words of its README."""

    def take_away() -> None:
        for tag in (f"{name}:latest", f"{name}-dockerfile:latest"):
            engine.untag(tag)

    def build(*options: str, env: dict[str, str] | None = None) -> CommandResult:
        take_away()  # without its tag, which the next one gets, it would be nobody's
        ejected = project.doit(f"eject:{name}", *options)
        assert ejected.code == 0, ejected.out
        readme = (project.root / "ejected" / name / "README.md").read_text()
        command = readme.partition("```sh\n")[2].partition("\n```")[0]
        return project.run("sh", "-c", f"cd ejected/{name} && {command}", env={**_client(), **(env or {})})

    yield build
    take_away()


def _client() -> dict[str, str]:
    """A PATH whose first docker knows BuildKit."""
    command = buildkit_cli.find()
    assert command
    assert command.buildkit, "apt-get install docker.io has one"
    return {"PATH": f"{Path(command.program).parent}:{os.environ['PATH']}"}


def _built(project: Project, name: str) -> str:
    result = project.doit(f"final:{name}")
    assert result.code == 0, result.out
    return f"habitat-{name}:final"


@pytest.mark.guarantee("ejected-image-is-equal")
@pytest.mark.parametrize("case", WALK)
def test_ejected_habitat_built_by_docker_equals_original(
    case: str, project: Project, name: str, build_ejected: Callable[..., CommandResult], request: pytest.FixtureRequest
) -> None:
    folder = CASES / case
    declared = "".join(path.read_text() for path in folder.iterdir() if path.name in ("config.yaml", "Dockerfile"))
    for fixture, image in (("busybox", BUSYBOX), ("debian_git", GIT)):
        if f"{image.partition(':')[0]}:SESSION" in declared:
            request.getfixturevalue(fixture)
    _lay_out(folder, project, name)
    result = build_ejected("--volumes")
    assert result.code == 0, result.out
    assert differences(_built(project, name), name, ignoring=KNOWN_DIFFERENCES.get(case, ())) == []


@pytest.mark.guarantee("ejected-image-is-equal")
def test_ejected_own_dockerfile_becomes_first_stage(
    project: Project, name: str, busybox: str, build_ejected: Callable[..., CommandResult]
) -> None:
    project.habitat(name, "dockerfile: Dockerfile.dev\nenv: [USER=root, 'PATH=/own:$PATH']\n")
    project.write(f"habitats/{name}/Dockerfile", "FROM nowhere\n")
    project.write(f"habitats/{name}/files/note", "note\n", 0o755)
    project.write(f"habitats/{name}/.dockerignore", "secret\n*.dev\n")
    project.write(f"habitats/{name}/secret", "secret\n")
    project.write(
        f"habitats/{name}/Dockerfile.dev",
        f"""\
        ARG BASE={busybox}
        FROM $BASE AS made
        COPY files /made
        RUN echo more >>/made/note && mkdir /made/kept
        FROM $BASE
        COPY --from=made --chown=5:6 /made /made
        COPY . /all/
        ENV OWN=1
        HEALTHCHECK CMD true
        STOPSIGNAL SIGQUIT
        VOLUME /made/kept
        SHELL ["/bin/sh", "-ec"]
        USER 5
        """,
    )
    result = build_ejected()
    assert result.code == 0, result.out
    assert differences(_built(project, name), name, ports=True) == []
    assert inspect(name)["Config"]["Healthcheck"]["Test"] == ["NONE"]


@pytest.mark.guarantee("command-identity")
@pytest.mark.guarantee("proxies-reach-commands-and-no-image")
def test_ejected_base_with_home_of_root_gives_each_command_its_users_identity(
    project: Project,
    name: str,
    busybox: str,
    build_ejected: Callable[..., CommandResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Built first, so that eject knows the variables of the Dockerfile. Docker's proxies reach all commands, too."""
    echo = "$HOME $USER $LOGNAME $SHELL $XDG_CONFIG_HOME $MAIL"
    names = ("HOME=/root", "LOGNAME=root", "SHELL=/x", "XDG_CONFIG_HOME=/root/.config", "MAIL=/var/mail/root")
    rows = ["RUN echo 'abc:x:911:911::/config:' >>/etc/passwd && mkdir /config", *(f"ENV {row}" for row in names)]
    rows.append(f'RUN test "$HTTP_PROXY $http_proxy" = "{PROXY} {PROXY}"')
    config = project.write("docker/config.json", json.dumps({"proxies": {"default": {"httpProxy": PROXY}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config.parent))
    project.write(f"habitats/{name}/Dockerfile", "\n".join([f"FROM {busybox}", *rows]) + "\n")
    project.write(f"habitats/{name}/rc", "rc\n")
    project.habitat(
        name,
        "files: [{source: rc, dest: ~/rc}]\nsetup:\n"
        + "".join(
            f"  - {{run_as: {user}, commands: ['echo \"{echo}\" >/tmp/{user}; test $HTTP_PROXY = {PROXY}']}}\n"
            for user in USERS
        )
        + f"entry: {{command: 'cat /tmp/root /tmp/abc /tmp/agent; echo \"{echo.replace('$', '$$')}\"'}}\n",
    )
    expected = [
        "/root root root /bin/sh /root/.config /var/mail/root",
        "/config abc abc /bin/sh /config/.config /var/mail/abc",
        *["/home/agent agent agent /bin/sh /home/agent/.config /var/mail/agent"] * 2,
    ]
    assert project.doit(f"start:{name}").out.splitlines()[-4:] == expected
    assert project.doit(
        f"exec:{name}", "--", "sh", "-c", f'echo "{echo}"; cat ~/rc; echo $HTTP_PROXY'
    ).out.splitlines()[-3:] == [
        expected[-1],
        "rc",
        PROXY,
    ]
    assert not [tag for tag in snapshots(name) if PROXY in str(inspect(f"habitat-{name}:{tag}"))]
    result = build_ejected()
    assert result.code == 0, result.out
    assert differences(_built(project, name), name) == []


def test_ejected_caches_are_builder_caches_with_folders_in_image(
    project: Project, name: str, busybox: str, engine: DockerEngine, build_ejected: Callable[..., CommandResult]
) -> None:
    def habitat(script: str) -> None:
        project.habitat(
            name,
            f"""\
            base_image: {busybox}
            caches: [~/.cache/{name}/b, /workspace/.{name}, {{path: /srv/{name}/x, sharing: locked}}]
            setup:
              user:
                - {script}
            """,
        )

    def volumes() -> list[str]:
        known_volumes = engine.volumes(label="habitat.caches")
        return [volume.name for volume in known_volumes if name in volume.labels["habitat.caches"]]

    mine, ours = f"~/.cache/{name}/b", f"/workspace/.{name}"
    habitat(f"echo one >{mine}/file; echo two >{ours}/file; stat -c '%a %U' {mine} {ours} /srv/{name}/x >~/seen")
    try:
        result = build_ejected()
        assert result.code == 0, result.out
        assert differences(_built(project, name), name) == []
        assert docker("run", "--rm", name, "cat", "/home/agent/seen").split() == [
            "755",
            "agent",
            "755",
            "agent",
            "755",
            "root",
        ]
        # Another command finds what the first has left, in either.
        habitat(f"cat {mine}/file {ours}/file >~/seen")
        assert build_ejected().code == 0
        assert differences(_built(project, name), name) == []
        assert docker("run", "--rm", name, "cat", "/home/agent/seen").split() == ["one", "two"]
    finally:
        for volume in volumes():
            engine.remove_volume(volume)


@pytest.mark.guarantee("ejected-files-hold-no-secret")
def test_ejected_secrets_are_build_flags_and_in_no_layer(
    project: Project, name: str, busybox: str, tmp_path: Path, build_ejected: Callable[..., CommandResult]
) -> None:
    project.habitat(
        name,
        f"""\
        base_image: {busybox}
        secrets:
          - {{name: BY-COMMAND, command: "echo {CANARY}", phases: [setup], variable: TOKEN}}
          - {{name: by.env, env: BY_ENV, phases: [setup]}}
          - {{name: absent, env: NOBODY_HAS_THIS, phases: [setup], optional: true}}
        setup:
          user:
            - test "$TOKEN" = "$(cat /run/secrets/BY-COMMAND)"
            - test "$(wc -c </run/secrets/by.env)" -eq {len(CANARY)}
            - test ! -e /run/secrets/absent
        """,
    )
    result = build_ejected(env={"BY_ENV": CANARY})
    assert result.code == 0, result.out
    docker("save", "--output", str(tmp_path / "saved"), name)
    with tarfile.open(tmp_path / "saved") as saved:
        members = [saved.extractfile(member) for member in saved if member.isreg()]
        assert members
        assert all(CANARY.encode() not in member.read() for member in members if member)
