"""A canary is given to every phase and to the running habitat, and then looked for everywhere."""

from __future__ import annotations

import base64
import json
import tarfile
import uuid
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import pytest
from conftest import (
    DEBIAN,
    ROOT,
    Project,
    RunningDoit,
    build_containers,
    clear,
    docker,
    failed,
    fresh_name,
    left_containers,
    snapshots,
    untagged,
)

from phases.core.config.loader import load
from phases.core.container.init_process import IDLE
from phases.core.engine.types import Bind, Tmpfs
from phases.core.errors import EngineError
from phases.core.model import SECRETS_FOLDER, Value
from phases.core.secrets.delivery import deliver, read
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

#: Found nowhere by chance; with signs that quoting changes.
CANARY = f"canary {uuid.uuid4().hex}/+$"
OTHER = f"other-canary-{uuid.uuid4().hex}"
KEY = f"-----BEGIN-----\n{uuid.uuid4().hex}\n{uuid.uuid4().hex}\n-----END-----\n"
KEY_LINE = KEY.splitlines()[1]

CONFIG = """
    secrets:
      - {{name: CANARY, env: CANARY, phases: [dockerfile, setup, repos, tools, test], start: true, variable: CANARY}}
      - {{name: key, file: private/key, phases: [setup, test], start: true}}
      - {{name: asked, command: cat ../canary-of-{name}, phases: [setup], start: true}}
    env: [USER=ada]
    setup:
      root:
        - |
          test "$CANARY" = "$(cat /run/secrets/CANARY)"
          test "$(stat -c '%U %a' /run/secrets/CANARY)" = "root 400"
          echo "says $CANARY"; cat /run/secrets/*; echo "$CANARY" >&2
          printf %s "me:$CANARY" | base64
          echo done >/etc/setup-root
      user:
        - |
          test "$(stat -c '%U %a' /run/secrets/CANARY)" = "ada 400"
          cat /run/secrets/CANARY /run/secrets/key /run/secrets/asked
          {more}
    tests: [tests/sees-it.sh]
    entry:
      command: cat /run/secrets/CANARY /run/secrets/key /run/secrets/asked; echo " $$CANARY"; {command}
"""

DOCKERFILE = """
    FROM {base}
    RUN --mount=type=secret,id=CANARY echo {name} sees; cat /run/secrets/CANARY && echo built >/etc/from-dockerfile
"""


class CanaryHabitat:
    """A project with one habitat that is given the canary in every way."""

    def __init__(self, root: Path, base: str, more: str = "true", command: str = "true") -> None:
        (root / "project").mkdir()
        self.project = Project(root / "project")
        self.name = fresh_name()
        folder = f"habitats/{self.name}"
        self.project.habitat(self.name, CONFIG.format(name=self.name, more=more, command=command))
        self.project.write(f"{folder}/Dockerfile", DOCKERFILE.format(base=base, name=self.name))
        self.project.write(f"{folder}/tests/sees-it.sh", '#!/bin/sh\ncat /run/secrets/CANARY; test "$CANARY"\n', 0o755)
        self.project.write(f"{folder}/tools/install-tools.sh", "#!/bin/sh\ncat /run/secrets/CANARY\n", 0o755)
        # The host's own copies, which are no business of a build's.
        self.own = [self.project.root / folder / "private" / "key", root / f"canary-of-{self.name}"]
        self.project.write(f"{folder}/private/key", KEY)
        self.own[1].write_text(OTHER)

    def doit(self, *args: str) -> CommandResult:
        result = self.project.doit(*args, env={"CANARY": CANARY})
        left_containers(self.name)  # what is about to go can't be searched
        return result

    def hits(self, output: str) -> tuple[int, int, list[str]]:
        """How many layers and other things were searched, and where one of the canaries was."""
        actual = [] if clean(output.encode()) else ["what doit said"]
        files = [path for path in self.project.root.rglob("*") if path.is_file() and path not in self.own]
        actual += [str(path) for path in files if not clean(path.read_bytes())]
        containers = docker("container", "ls", "-aq", "--filter", f"label=habitat.name={self.name}").split()
        images = sorted({*snapshots(self.name).values(), *failed(self.name).values(), *untagged(self.name)})
        messages = {f"container {c}": docker("container", "inspect", c) + docker("logs", c) for c in containers}
        messages |= {f"image {i}": docker("image", "inspect", i) + docker("history", "--no-trunc", i) for i in images}
        actual += [what for what, text in messages.items() if not clean(text.encode())]
        layers = self._layers(images, containers)
        actual += [layer for layer, is_clean in layers.items() if not is_clean]
        return len(layers), len(files) + len(messages) + 1, actual

    def _layers(self, images: list[str], containers: list[str]) -> dict[str, bool]:
        """Each layer of the images, with configs and all, and each container's filesystem."""
        layers: dict[str, bool] = {}
        saved = self.project.root.parent / "saved.tar"
        if images:
            docker("image", "save", "-o", str(saved), *images)
            with tarfile.open(saved) as tar:
                for member in tar:
                    if stream := tar.extractfile(member):
                        layers[member.name] = clean_stream(stream)
        for container in containers:
            docker("container", "export", "-o", str(saved), container)
            with saved.open("rb") as stream:
                layers[f"filesystem of {container}"] = clean_stream(stream)
        saved.unlink(missing_ok=True)
        return layers


FORMS = [
    form
    for value in (CANARY, OTHER, KEY_LINE)
    for form in (
        value.encode(),
        quote(value, safe="").encode(),
        base64.b64encode(value.encode())[:-4],
        json.dumps(value)[1:-1].encode(),
    )
]


def clean(data: bytes) -> bool:
    return not any(form in data for form in FORMS)


def clean_stream(stream: IO[bytes]) -> bool:
    before = b""
    while data := stream.read(1 << 24):
        if not clean(before + data):
            return False
        before = data[-200:]
    return True


@pytest.fixture
def habitat(engine: DockerEngine, busybox: str, tmp_path: Path) -> Iterator[CanaryHabitat]:
    habitat = CanaryHabitat(tmp_path, busybox)
    yield habitat
    clear(engine, habitat.name)


@pytest.mark.guarantee("secret-stored-nowhere")
def test_canary_search_finds_planted_value(habitat: CanaryHabitat) -> None:
    """Or the tests below would prove nothing."""
    habitat.project.write(f"habitats/{habitat.name}/leak", CANARY)
    result = habitat.doit(f"files:{habitat.name}")
    assert result.code == 0, result.out
    layers, _, actual = habitat.hits(f"echo {CANARY}")
    assert actual[:2] == ["what doit said", str(habitat.project.root / "habitats" / habitat.name / "leak")]
    assert len(actual) > 2
    assert any(name.endswith(("layer.tar", ".tar")) or "blobs" in name for name in actual), actual
    assert layers > 5


@pytest.mark.guarantee("secret-stored-nowhere")
def test_canary_after_success_is_nowhere(habitat: CanaryHabitat, summary: list[str]) -> None:
    result = habitat.doit(f"start:{habitat.name}")
    assert result.code == 0, result.out
    assert result.out.splitlines()[-5:-1] != []
    assert "*** ***" in result, "the command of the habitat saw all of them"
    assert f"{habitat.name} sees" in result, "or docker had the Dockerfile's layer, and printed nothing"
    assert {"sees-it"} <= {p.stem for p in (habitat.project.root / "habitats").rglob("*.sh")}
    logs = {log.name: log.read_text().count("***") for log in habitat.project.root.rglob("*.log")}
    assert {name for name, count in logs.items() if count} >= {
        "0-dockerfile.log",
        "7-setup.log",
        "9-tools.log",
        "11-test.log",
    }, logs
    layers, others, actual = habitat.hits(result.out)
    assert actual == []
    summary.append(f"canary after success: 0 hits in {layers} layers and {others} files, configs and outputs")


@pytest.mark.guarantee("secret-change-rebuilds-nothing")
def test_changed_secret_value_builds_nothing(habitat: CanaryHabitat) -> None:
    assert habitat.doit(f"final:{habitat.name}").code == 0
    before = snapshots(habitat.name)
    (habitat.own[0]).write_text("another key\n")
    again = habitat.project.doit(f"start:{habitat.name}", env={"CANARY": "another-value"})
    assert again.code == 0, again.out
    assert again.ran == []
    assert snapshots(habitat.name) == before
    assert "another-value" not in again


@pytest.mark.guarantee("secret-stored-nowhere")
def test_canary_after_failure_is_nowhere(
    engine: DockerEngine, busybox: str, tmp_path: Path, summary: list[str]
) -> None:
    habitat = CanaryHabitat(tmp_path, busybox, more='echo "$CANARY"; cat /run/secrets/absent')
    try:
        result = habitat.doit(f"start:{habitat.name}")
        assert result.code != 0
        assert "***" in result
        assert list(failed(habitat.name)) == ["7-setup-failed"]
        assert left_containers(habitat.name) == []
        layers, others, actual = habitat.hits(result.out)
        assert actual == []
        summary.append(f"canary after a failure: 0 hits in {layers} layers and {others} files, configs and outputs")
    finally:
        clear(engine, habitat.name)


@pytest.mark.guarantee("secret-stored-nowhere")
def test_canary_after_kill_is_nowhere(
    engine: DockerEngine, busybox: str, tmp_path: Path, summary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in what the killed run leaves behind, nor after the next one."""
    monkeypatch.setenv("CANARY", CANARY)
    habitat = CanaryHabitat(tmp_path, busybox, more="echo in the middle; sleep 100")
    try:
        with RunningDoit(habitat.project, f"final:{habitat.name}") as running:
            log = habitat.project.root / ".stamps" / habitat.name / "7-setup.log"
            wait_for_text(log, "in the middle")
            running.process.kill()
            output = running.end().out
        assert build_containers(habitat.name)
        layers, others, actual = habitat.hits(output)
        assert actual == []
        habitat.project.habitat(habitat.name, CONFIG.format(name=habitat.name, more="true", command="true"))
        result = habitat.doit(f"start:{habitat.name}")
        assert result.code == 0, result.out
        after = habitat.hits(output + result.out)
        assert after[2] == []
        assert left_containers(habitat.name) == []
        summary.append(
            f"canary after a kill: 0 hits in {layers} layers and {others} files, configs and outputs, "
            f"nor in {after[0]} and {after[1]} after the next run"
        )
    finally:
        clear(engine, habitat.name)


def wait_for_text(path: Path, text: str) -> None:
    from conftest import wait_until

    wait_until(lambda: path.exists() and text in path.read_text())


@pytest.mark.guarantee("secret-readable-by-its-user-only")
def test_secret_in_running_habitat_is_readable_by_user_only(habitat: CanaryHabitat) -> None:
    config = CONFIG.format(
        name=habitat.name,
        more="true",
        command="stat -c %U:%a /run/secrets/CANARY; id -un; touch /run/secrets/x 2>/dev/null || echo no place to write",
    )
    habitat.project.habitat(habitat.name, config)
    result = habitat.doit(f"start:{habitat.name}")
    assert result.code == 0, result.out
    assert "ada:400\nada\n" in result
    assert "no place to write" in result


@pytest.mark.guarantee("secret-in-no-volume")
def test_secret_is_not_delivered_into_volume_over_secrets_folder(engine: DockerEngine, tmp_path: Path) -> None:
    """/var/run leads to /run in most images."""
    mounts = (Tmpfs(SECRETS_FOLDER), Bind(str(tmp_path), "/var/run/secrets", readonly=False))
    container = engine.create(DEBIAN, f"habitat_build_{fresh_name()}", IDLE, mounts=mounts)
    try:
        engine.start(container)
        with pytest.raises(EngineError, match=r"secret T could not be given .* \(/run/secrets is no tmpfs\)"):
            deliver(engine, container, [Value("T", CANARY.encode())], "root", load(ROOT, "hello", NAMES))
        (tmp_path / "T").write_text(CANARY)
        assert read(engine, container) == []
        (tmp_path / "T").unlink()
    finally:
        engine.remove(container)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.guarantee("failed-start-keeps-container")
def test_secrets_of_running_container_are_read_byte_for_byte(engine: DockerEngine) -> None:
    """So that a container that is stopped for a while gets them back."""
    values = [Value("T", CANARY.encode()), Value("a.b-C", b"\0\xff\nT 0 3\n" * 80_000), Value("z", b"\n")]
    container = engine.create(DEBIAN, f"habitat_build_{fresh_name()}", IDLE, mounts=[Tmpfs(SECRETS_FOLDER)])
    try:
        engine.start(container)
        assert read(engine, container) == []
        deliver(engine, container, values, "games", load(ROOT, "hello", NAMES))
        held = read(engine, container)
    finally:
        engine.remove(container)
    assert ({owner for owner, _ in held}, {value.name: value for _, value in held}) == (
        {"5"},
        {value.name: value for value in values},
    )


def test_dockerfile_secret_without_buildkit_is_refused(habitat: CanaryHabitat) -> None:
    result = habitat.project.doit(f"final:{habitat.name}", env={"CANARY": CANARY, "PATH": "/nowhere"})
    assert result.code != 0
    assert "a Dockerfile is given secrets by BuildKit, and there is no `docker` here that has it" in result
