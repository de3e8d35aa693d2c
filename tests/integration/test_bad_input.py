"""What goes wrong for a reason outside the program is one line: where, what, and what to do."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import BUSYBOX, PREFIX, CommandResult, Project, clear, docker, fresh_name, import_image, snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine


# Configs, which are read without an engine


@dataclass(frozen=True)
class BrokenConfig:
    """A config.yaml, and the line that says what is wrong with it, from the place in the file on."""

    config: str | bytes
    line: str


BROKEN = {
    "unknown-key": BrokenConfig(
        """
        description: nearly
        base_imge: debian
        """,
        ":2: unknown key 'base_imge': did you mean 'base_image'?",
    ),
    "unknown-key-within": BrokenConfig(
        """
        base_image: debian
        files:
          - source: config.yaml
            dest: /a
          - source: config.yaml
            dst: /b
        """,
        ":6: files[1]: unknown key 'dst': did you mean 'dest'?",
    ),
    "no-key-like-it": BrokenConfig(
        """
        base_image: debian
        entry:
          xyzzy: 1
        """,
        ":3: entry: unknown key 'xyzzy': "
        "known here: command, env, files, hosts, init_command, instruction_files, limits, login, network, persist, "
        "ports, ready, shm_size, ssh_agent, startup_delay",
    ),
    "missing-key": BrokenConfig(
        """
        base_image: debian
        repos:
          - path: /a
        """,
        ":3: repos[0]: 'url' is missing: add it",
    ),
    "text-for-list": BrokenConfig(
        """
        base_image: debian
        env: USER=me
        """,
        ":2: env is a value here but a list in phases/system/config.yaml:5: write a list, as there",
    ),
    "text-for-number": BrokenConfig(
        """
        base_image: debian
        repos:
          - url: /x
            path: x
            depth: deep
        """,
        ":5: repos[0].depth: must be a whole number, is text: write a number",
    ),
    "list-for-text": BrokenConfig(
        """
        base_image:
          - debian
        """,
        ":1: base_image: must be text, is a list: write one value",
    ),
    "duplicate-key": BrokenConfig(
        """
        base_image: debian
        env: []

        env: []
        """,
        ":4: key 'env' appears twice (first on line 2): keep one of them",
    ),
    "not-yaml": BrokenConfig(
        """
        base_image: debian
        env: [A=1, B=2
        tests: []
        """,
        ":3:6: is not YAML: did not find expected ',' or ']': fix the line",
    ),
    "tab": BrokenConfig(
        "base_image: debian\nentry:\n\tcommand: x\n",
        ":3:1: is not YAML: found character that cannot start any token: fix the line",
    ),
    "block-not-indented": BrokenConfig(
        """
        base_image: debian
        setup:
          root:
            - |
            npm install
        """,
        ":5: the text under `- |` is not indented: indent each of its lines further than the dash",
    ),
    "a-list": BrokenConfig(
        "- base_image: debian\n", ":1: must be a mapping of keys to values, is a list: see docs/config.md"
    ),
    "not-utf8": BrokenConfig(b"base_image: debian\ndescription: caf\xe9\n", ": is not UTF-8 text: save it as UTF-8"),
    "unknown-variable": BrokenConfig(
        """
        base_image: debian
        verify-fs:
          required_files:
            - /etc/passwd
            - ${WORKDR}/x
        """,
        ":5: ${WORKDR} is not set in env: did you mean 'WORKDIR'?",
    ),
    "lone-dollar": BrokenConfig(
        """
        base_image: debian
        entry:
          command: echo $
        """,
        ":3: a lone $ in 'echo $': write $$ for a dollar sign",
    ),
    "cycle": BrokenConfig(
        """
        base_image: debian
        env:
          - A=x$B
          - B=${C}
          - C=$A
        """,
        ":5: env: A → B → C → A is a cycle: write the value of C without $A",
    ),
    "no-assignment": BrokenConfig(
        """
        base_image: debian
        env:
          - USER me
        """,
        ":3: env: 'USER me' is not NAME=value: write it as NAME=value",
    ),
    "no-user-name": BrokenConfig(
        """
        base_image: debian
        env:
          - USER=me and you
        """,
        ":3: USER: 'me and you' is not a user name: write a name such as dev",
    ),
    "relative-workdir": BrokenConfig(
        """
        base_image: debian
        env:
          - WORKDIR=workspace
        """,
        ":3: WORKDIR: 'workspace' is not absolute: start it with a slash",
    ),
    "no-host-file": BrokenConfig(
        """
        base_image: debian
        files:
          - dest: /a
            source: missing.txt
        """,
        ":4: files: there is neither habitats/no-host-file/missing.txt nor missing.txt on the host:"
        " add it, or fix the path",
    ),
    "no-host-volume": BrokenConfig(
        """
        base_image: debian
        volumes:
          - source: /nowhere/at/all
            dest: /a
        """,
        ":3: volumes: there is no /nowhere/at/all on the host: add it, or fix the path",
    ),
    "no-test": BrokenConfig(
        """
        base_image: debian
        tests:
          - tests/missing.sh
        """,
        ":3: tests: there is neither habitats/no-test/tests/missing.sh nor tests/missing.sh on the host:"
        " add it, or fix the path",
    ),
    "mode-in-letters": BrokenConfig(
        """
        base_image: debian
        files:
          - source: config.yaml
            dest: /a
            mode: rwxr-xr-x
        """,
        ":5: mode 'rwxr-xr-x' is not octal: write it like 0644",
    ),
    "branch-and-ref": BrokenConfig(
        """
        base_image: debian
        repos:
          - url: https://example.org/a
            path: a
            branch: main
            ref: v1
        """,
        ":3: repos[0] has both branch and ref: keep one of them",
    ),
    "no-such-phase": BrokenConfig(
        """
        base_image: debian
        timeouts:
          setups: 30m
        """,
        ":3: timeouts: there is no phase 'setups': did you mean 'setup'?",
    ),
    "no-duration": BrokenConfig(
        """
        base_image: debian
        timeouts:
          setup: soon
        """,
        ":3: timeouts.setup: must be a duration from 1s to 8760h, is 'soon': write whole seconds, minutes or hours, "
        "such as 90s, 30m or 1h 30m",
    ),
    "other-name": BrokenConfig(
        """
        base_image: debian
        name: another
        """,
        ":2: name is 'another' but its folder is 'other-name': give both one name, or leave the key out",
    ),
    "no-base": BrokenConfig(
        "description: of nothing\n",
        ":1: there is no base_image and no Dockerfile: add `base_image: debian:bookworm-slim`, or a Dockerfile"
        " beside it",
    ),
}


@dataclass(frozen=True)
class BrokenHabitatsOutput:
    """What a project of broken habitats says of them. listed: by `doit list`; run: by `doit`."""

    listed: CommandResult
    run: CommandResult


@pytest.fixture(scope="module")
def broken_output(tmp_path_factory: pytest.TempPathFactory) -> BrokenHabitatsOutput:
    """All broken habitats in one project: one that is broken stops no other."""
    project = Project(tmp_path_factory.mktemp("broken"))
    for name, broken in BROKEN.items():
        if isinstance(broken.config, bytes):
            project.write(f"habitats/{name}/config.yaml").write_bytes(broken.config)
        else:
            project.habitat(name, broken.config.lstrip("\n"))
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    return BrokenHabitatsOutput(project.doit("list", env=nowhere), project.doit("build", env=nowhere))


@pytest.mark.parametrize("name", BROKEN)
def test_broken_config_is_one_line_with_place_and_remedy(broken_output: BrokenHabitatsOutput, name: str) -> None:
    line = f"habitats/{name}/config.yaml{BROKEN[name].line}"
    assert re.findall(rf"^start:{name} +broken: (.*)$", broken_output.listed.out, re.MULTILINE) == [line]
    assert re.findall(rf"^{name} +│ ❌ (.*)$", broken_output.run.out, re.MULTILINE) == [line]


def test_broken_configs_together_print_one_line_each(broken_output: BrokenHabitatsOutput) -> None:
    assert broken_output.listed.code == 0
    assert broken_output.run.code != 0
    assert broken_output.run.out.count("❌") == len(BROKEN), broken_output.run.out
    assert broken_output.run.out.splitlines()[-1].startswith(f"0 of {len(BROKEN)} ready; failed: a-list, ")


def test_broken_habitat_alone_is_one_line_and_fails(project: Project) -> None:
    project.habitat("alone", "description: of nothing\n")
    for task in ("final:alone", "start:alone", "base:alone"):
        result = project.doit(task)
        assert result.code != 0
        assert result.out == (
            "❌ habitats/alone/config.yaml:1: there is no base_image and no Dockerfile: "
            "add `base_image: debian:bookworm-slim`, or a Dockerfile beside it\n"
        )


def test_habitat_folder_with_invalid_image_name_is_error(project: Project) -> None:
    project.habitat("Discourse_", "base_image: debian\n")
    line = (
        "habitats/Discourse_: 'Discourse_' can't name a habitat: "
        "rename the folder: use at most 200 lower-case letters and digits, with single . _ or - between them"
    )
    assert f"broken: {line}\n" in project.doit("list")
    result = project.doit("final:Discourse_")
    assert (result.code, result.out) == (2, f"❌ {line}\n")


def test_config_layers_of_different_types_error_names_both_places(project: Project) -> None:
    project.write("shared/config.yaml", "env: []\nsetup:\n  root: [true]\n")
    project.habitat("layered", "base_image: debian\nsetup:\n  - commands: [true]\n")
    line = (
        "habitats/layered/config.yaml:2: setup is a list here but a mapping in shared/config.yaml:2: "
        "write a mapping, as there"
    )
    assert f"broken: {line}\n" in project.doit("list")
    result = project.doit("final:layered")
    assert (result.code, result.out) == (2, f"❌ {line}\n")


def test_shared_config_error_names_shared_file(project: Project) -> None:
    project.write("shared/config.yaml", "env:\n  - A=$B\n  - B=$A\n")
    project.habitat("one", "base_image: debian\n")
    assert "❌ shared/config.yaml:3: env: A → B → A is a cycle" in project.doit("final:one")


def test_unknown_habitat_of_build_lists_habitats_and_suggests_none(project: Project) -> None:
    project.habitat("discourse", "base_image: debian\n")
    result = project.doit("final:discurse")
    assert result.code == 3
    assert result.out == "ERROR: there is no task 'final:discurse': no habitat has this name; known here: discourse\n"


def test_engine_not_running_is_one_line_error(project: Project) -> None:
    project.habitat("fine", "base_image: debian\n")
    for task in ("final:fine", "start:fine"):
        result = project.doit(task, env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
        assert result.code != 0
        assert result.out.endswith(
            "❌ no Docker engine answers at unix:///nowhere/docker.sock: "
            "start it (script/bootstrap does on Debian and Ubuntu), or set DOCKER_HOST\n"
        )
        assert result.out.count("no Docker engine answers") == 1, result.out


# Builds, which meet the engine


@dataclass
class RepairableHabitat:
    """A project with one habitat, built to the end, that tests spoil and mend again.

    Each failing run gets as far as its phase, so the run after the mending begins there.
    """

    project: Project
    name: str

    def config(self, text: str) -> None:
        self.project.habitat(self.name, text)

    def build(self, *, timeout: float = 120) -> CommandResult:
        return self.project.doit(f"final:{self.name}", timeout=timeout)

    def fails_in(self, phase: str, *parts: str) -> CommandResult:
        """A build that fails in `phase`, in one line with these parts; nothing of before is lost."""
        before = snapshots(self.name)
        result = self.build()
        assert result.code != 0
        assert "Traceback" not in result.out, result.out
        lines = [line for line in result.out.splitlines() if line.startswith("❌")]
        assert len(lines) == 1, result.out
        assert lines[0].startswith(f"❌ {phase}:{self.name}: "), result.out
        for part in parts:
            assert part.replace("CONFIG", f"habitats/{self.name}/config.yaml") in lines[0], result.out
        # A phase that was built before the failing one takes what rested on its old result with it.
        if not result.ran:
            assert snapshots(self.name) == before
        return result

    def goes_on_with(self, phase: str) -> None:
        """Mended: the next run begins with `phase` and gets to the end."""
        result = self.build()
        assert result.code == 0, result.out
        assert result.ran[0] == phase, result.out
        assert result.ran[-1] == "final"

    def log(self, phase: str) -> str:
        return (self.project.root / ".stamps" / self.name / f"{phase}.log").read_text()


@pytest.fixture(scope="module")
def repairable_habitats(
    engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RepairableHabitat, str]]:
    project = Project(tmp_path_factory.mktemp("project"))
    habitat = RepairableHabitat(project, fresh_name())
    repository = project.root / "git" / "app"
    repository.mkdir(parents=True)
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    for command in (("init", "-q", "-b", "main"), (*identity, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(("git", *command), cwd=repository, check=True)
    base = f"base_image: {git_image}\nvolumes:\n  - source: git\n    dest: /srv/git\n    readonly: true\n"
    habitat.config(base)
    assert habitat.build().code == 0
    yield habitat, base
    clear(engine, habitat.name)


@pytest.mark.engine
def test_failed_command_shows_its_output_and_log_path(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    script = "setup:\n  root:\n    - 'true'\n    - |\n      echo told; echo warned >&2\n      sh -c 'exit {}'\n"
    habitat.config(base + script.format(7))
    output = habitat.fails_in(
        "setup",
        "CONFIG:9: setup command 2 of 2 ended with exit code 7: fix it, then run the same command",
        f"log: .stamps/{habitat.name}/7-setup.log",
    )
    rows = output.out.splitlines()
    for line in ("    told", "    warned", "    > sh -c 'exit 7'"):
        assert line in rows, output.out
    log = habitat.log("7-setup").splitlines()
    assert {"told", "warned"} <= set(log)
    # What was there before is still whole: with the old config nothing has to run.
    habitat.config(base)
    assert habitat.build().ran == []
    habitat.config(base + script.format(0))
    habitat.goes_on_with("setup")


@pytest.mark.engine
def test_failed_command_block_stops_at_first_failing_line(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    habitat.config(base + "setup:\n  user:\n    - |\n      echo before\n      ls /missing\n      echo after\n")
    output = habitat.fails_in("setup", "CONFIG:8: setup command 1 of 1 ended with exit code 1")
    assert "    before" in output.out.splitlines()
    assert "    after" not in output.out.splitlines()
    assert "No such file" in output.out
    assert "\nafter" not in habitat.log("7-setup")


@pytest.mark.engine
def test_command_over_timeout_is_stopped(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    slow = "setup:\n  user:\n    - echo begun; sleep {}\ntimeouts: {{setup: 2s}}\n"
    habitat.config(base + slow.format(100))
    output = habitat.fails_in(
        "setup",
        "CONFIG:8: setup command 1 of 1 was stopped: setup took longer than 2s",
        f"raise timeouts.setup, or see the log: .stamps/{habitat.name}/7-setup.log",
    )
    assert "    begun" in output.out.splitlines()
    assert "begun" in habitat.log("7-setup")
    habitat.config(base + slow.format(0))
    habitat.goes_on_with("setup")


@pytest.mark.engine
def test_setup_user_missing_in_image_is_error(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    habitat.config(base + "setup:\n  nobody-here:\n    - 'true'\n")
    habitat.fails_in("setup", "CONFIG:8: there is no user 'nobody-here' in the image: make it in the Dockerfile")
    habitat.config(base + "setup:\n  user:\n    - 'true'\n")
    habitat.goes_on_with("setup")


@pytest.mark.engine
def test_file_owner_missing_in_image_is_error(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    file = "files:\n  - source: dodo.py\n    dest: /dodo.py\n    owner: {}\n"
    habitat.config(base + file.format("stranger"))
    habitat.fails_in("files", "CONFIG:7: there is no user 'stranger' in the image: make it in the Dockerfile")
    habitat.config(base + file.format("agent:strangers"))
    habitat.fails_in("files", "CONFIG:7: there is no group 'strangers' in the image: make it in the Dockerfile")
    habitat.config(base + file.format("agent:root"))
    habitat.goes_on_with("files")


CLONE = "repos:\n  - path: app\n    url: "

UNCLONABLE = {
    "no repository": ("file:///srv/git/missing", "", "does not appear to be a git repository"),
    "no server": ("git://127.0.0.1:9/x", "", "Connection refused"),
    "no branch": (
        "file:///srv/git/app\n    branch: gone",
        " (gone)",
        "Remote branch gone not found in upstream origin",
    ),
    "no ref": ("file:///srv/git/app\n    ref: v9", " (v9)", "couldn't find remote ref v9"),
}


@pytest.mark.engine
@pytest.mark.parametrize("why", UNCLONABLE)
def test_repository_not_cloneable_error_shows_git_message(
    repairable_habitats: tuple[RepairableHabitat, str], why: str
) -> None:
    habitat, base = repairable_habitats
    url, at, output = UNCLONABLE[why]
    habitat.config(base + CLONE + url)
    habitat.fails_in(
        "repos",
        f"CONFIG:7: git clone {url.split()[0]}{at} ended with exit code 128 (",
        output,
        "check url, branch and ref, and that the container can reach and may read the repository",
        f"log: .stamps/{habitat.name}/8-repos.log",
    )


@pytest.mark.engine
def test_repository_fixed_after_failure_build_continues_with_repos(
    repairable_habitats: tuple[RepairableHabitat, str],
) -> None:
    habitat, base = repairable_habitats
    habitat.config(base + CLONE + "file:///srv/git/app\n    ref: gone")
    habitat.fails_in("repos", "CONFIG:7: ")
    habitat.config(base + CLONE + "file:///srv/git/app\n    branch: main")
    habitat.goes_on_with("repos")


@pytest.mark.engine
def test_repository_setup_failure_error_names_its_line(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    repo = "repos:\n  - path: app\n    url: file:///srv/git/app\n    setup:\n      - pwd\n      - exit {}\n"
    habitat.config(base + repo.format(3))
    habitat.fails_in("repos", "CONFIG:11: setup of /workspace/app ended with exit code 3")
    habitat.config(base + repo.format(0))
    habitat.goes_on_with("repos")


@pytest.mark.engine
def test_required_paths_missing_are_all_named_in_one_error(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    required = "verify-fs:\n  required_files:\n    - /etc/passwd\n    - /missing/one\n    - two\n"
    habitat.config(base + required)
    output = habitat.fails_in(
        "verify",
        "CONFIG:9: 2 required paths are missing: /missing/one, /workspace/two: "
        "add them in setup, files or repos, or take them off the list",
    )
    assert "test" not in output.ran
    habitat.config(base + "verify-fs:\n  required_files:\n    - /etc/passwd\n")
    habitat.goes_on_with("verify")


@pytest.mark.engine
def test_failed_test_error_shows_name_and_output(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    place = f"habitats/{habitat.name}/tests"
    habitat.project.write(f"{place}/good.sh", "#!/bin/sh\necho fine\n", 0o755)
    habitat.project.write(f"{place}/bad.sh", "#!/bin/sh\necho what I saw\nexit 4\n", 0o755)
    habitat.config(base + "tests:\n  - tests/good.sh\n  - tests/bad.sh\n")
    output = habitat.fails_in(
        "test", "CONFIG:8: test tests/bad.sh ended with exit code 4", f"log: .stamps/{habitat.name}/11-test.log"
    )
    assert "    what I saw" in output.out.splitlines()
    assert {"fine", "what I saw"} <= set(habitat.log("11-test").splitlines())
    habitat.project.write(f"{place}/bad.sh", "#!/bin/sh\nexit 0\n", 0o755)
    habitat.goes_on_with("test")


@pytest.mark.engine
def test_volume_source_removed_is_error(repairable_habitats: tuple[RepairableHabitat, str]) -> None:
    habitat, base = repairable_habitats
    data = habitat.project.write("data/file", "x").parent
    habitat.config(base + "  - source: data\n    dest: /data\nsetup:\n  root:\n    - rm -rf /data/* && exit 1\n")
    habitat.fails_in("setup", "CONFIG:10: setup command 1 of 1 ended with exit code 1")
    data.rmdir()
    result = habitat.build()
    assert result.code != 0
    assert "CONFIG:6: volumes: there is neither ".replace("CONFIG", f"habitats/{habitat.name}/config.yaml") in result
    data.mkdir()
    habitat.config(base + "  - source: data\n    dest: /data\nsetup:\n  root:\n    - test -d /data\n")
    habitat.goes_on_with("setup")


@pytest.mark.engine
def test_container_name_taken_is_error_and_container_is_kept(
    repairable_habitats: tuple[RepairableHabitat, str],
) -> None:
    habitat, base = repairable_habitats
    habitat.config(base + "entry:\n  command: echo ran\n")
    taken = docker("container", "create", "--name", f"habitat-{habitat.name}", BUSYBOX, "true")
    started = habitat.project.doit(f"start:{habitat.name}")
    assert started.code != 0
    assert started.out.splitlines()[-1] == (
        f"❌ the container name habitat-{habitat.name} is taken by another container: "
        f"rename that container: docker rename habitat-{habitat.name} OTHER"
    )
    assert "Traceback" not in started.out
    assert docker("container", "inspect", "--format", "{{.Id}} {{.State.Status}}", taken) == f"{taken} created"
    docker("container", "rm", taken)
    again = habitat.project.doit(f"start:{habitat.name}")
    assert (again.code, again.ran) == (0, [])
    assert "ran" in again.out.splitlines()


@pytest.mark.engine
def test_base_image_not_pullable_is_error(project: Project, busybox: str, name: str) -> None:
    habitat = RepairableHabitat(project, name)
    # A registry on this machine that nobody runs.
    habitat.config("description: x\nbase_image: 127.0.0.1:9/nobody/nothing:1\n")
    habitat.fails_in(
        "base",
        "CONFIG:2: base image 127.0.0.1:9/nobody/nothing:1 can't be pulled (",
        "check its name and the network, or bring it with docker load",
    )
    assert snapshots(name) == {}
    habitat.config(f"base_image: {busybox}\n")
    habitat.goes_on_with("base")


@pytest.mark.engine
def test_base_image_without_shell_is_error(project: Project, engine: DockerEngine, name: str) -> None:
    habitat = RepairableHabitat(project, name)
    root = project.root / "image"
    root.mkdir()
    (root / "one").write_text("one file")
    image = f"{PREFIX}-shell-less:{name}"
    import_image(root, image)
    try:
        habitat.config(f"base_image: {image}\n")
        habitat.fails_in(
            "base", "CONFIG:1: 1 required path is missing: /bin/sh: a habitat needs a base image with a shell"
        )
        assert snapshots(name) == {}
    finally:
        engine.untag(image)


@pytest.mark.engine
def test_image_without_git_is_error_with_remedy(project: Project, busybox: str, name: str) -> None:
    habitat = RepairableHabitat(project, name)
    habitat.config(f"base_image: {busybox}\nrepos:\n  - url: file:///x\n    path: x\n")
    habitat.fails_in(
        "repos",
        "CONFIG:3: git clone file:///x ended with exit code 127 (there is no git in the image): "
        "install git in setup, or use a base image that has it",
    )
    # Mended in setup, which is where the next run begins.
    habitat.config(
        f"base_image: {busybox}\nsetup:\n  root:\n    - ln -s /bin/true /bin/git\nrepos:\n  - url: /x\n    path: x\n"
    )
    result = habitat.build()
    assert result.ran[0] == "setup"


@pytest.mark.engine
def test_env_reference_to_unset_variable_is_error_with_suggestion(
    repairable_habitats: tuple[RepairableHabitat, str],
) -> None:
    habitat, base = repairable_habitats
    habitat.config(base + "env:\n  - A=1\n  - B=$ORIGINE\n")
    habitat.fails_in("env", "CONFIG:8: ${ORIGINE} is set neither in env nor by the base image: did you mean 'ORIGIN'?")
    habitat.config(base + "env:\n  - A=1\n  - B=$ORIGIN\n")
    habitat.goes_on_with("env")


@pytest.mark.engine
def test_dockerfile_failure_shows_its_output(project: Project, busybox: str, name: str) -> None:
    habitat = RepairableHabitat(project, name)
    habitat.config("description: from a Dockerfile\n")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN echo built-so-far && exit 9\n")
    result = habitat.fails_in("dockerfile", f"habitats/{name}/Dockerfile: ", f"log: .stamps/{name}/0-dockerfile.log")
    assert "built-so-far" in result
    assert "built-so-far" in habitat.log("0-dockerfile")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN echo built-so-far\n")
    habitat.goes_on_with("dockerfile")
