"""Side effect probes in real containers, with each kind of shell."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from conftest import DEBIAN, PREFIX

from phases.core.container.init_process import IDLE_FOR_PROBE
from phases.core.container.side_effects import SideEffectProbe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine


@pytest.fixture(params=["busybox", "dash", "bash"])
def container(request: pytest.FixtureRequest, engine: DockerEngine, busybox: str) -> Iterator[str]:
    image = busybox if request.param == "busybox" else DEBIAN
    container_id = engine.create(image, f"{PREFIX}-{uuid.uuid4().hex[:8]}", IDLE_FOR_PROBE)
    try:
        engine.start(container_id)
        if request.param == "bash":
            assert engine.exec(container_id, ("ln", "-sf", "bash", "/bin/sh")) == 0
        yield container_id
    finally:
        engine.remove(container_id)


def run(engine: DockerEngine, container: str, script: str, user: str = "0") -> tuple[int, bytes, bytes, bool]:
    """Exit code, stdout, stderr, and whether the container is settled after it."""
    got = {False: b"", True: b""}

    def on_output(data: bytes, is_err: bool) -> None:
        got[is_err] += data

    watch = SideEffectProbe(on_output)
    argv = watch.argv(("/bin/sh", "-e", "-c", "--", script, "sh", "an argument"))
    code = engine.exec(container, argv, user=user, on_output=watch.feed)
    settled = watch.end()
    return code, got[False], got[True], settled


@pytest.mark.parametrize("user", ["0", "1234"])
@pytest.mark.parametrize(
    "script",
    [
        "true",
        'echo "$1" | cat >/tmp/x',
        "(exec true) & wait",
        "exec 2>&-; true",
        "exec sh -c true",
        "cd /tmp; unset PATH",
        "trap : TERM; kill 0; true",
        "trap : USR1; kill -USR1 0; true",
        "sleep 100 & kill $!",
    ],
)
def test_side_effect_probe_after_ended_processes_reports_settled(
    engine: DockerEngine, container: str, script: str, user: str
) -> None:
    assert run(engine, container, script, user) == (0, b"", b"", True)


@pytest.mark.parametrize(
    "script",
    [
        "sleep 100 >/dev/null 2>&1 &",
        "touch /dev/shm/x",
        "touch /dev/shm/.x",
        "mkdir /dev/mine",
    ],
)
def test_side_effect_probe_with_running_process_or_memory_file_reports_unsettled(
    engine: DockerEngine, container: str, script: str
) -> None:
    assert run(engine, container, script) == (0, b"", b"", False)
    assert run(engine, container, "true") == (0, b"", b"", False)


@pytest.mark.parametrize("script", ["exit 7", "exit 126", "exit 200", "false", "kill -9 $$", "nothing-like-it 2>&-"])
def test_side_effect_probe_keeps_exit_code_of_failed_command(engine: DockerEngine, container: str, script: str) -> None:
    code, out, err, settled = run(engine, container, script)
    assert (code, out, err, settled) == (alone(engine, container, script), b"", b"", False)
    assert code != 0


def test_side_effect_probe_with_unreadable_folder_reports_unsettled(engine: DockerEngine, container: str) -> None:
    assert run(engine, container, "touch /dev/shm/x; chmod 700 /dev/shm") == (0, b"", b"", False)
    assert run(engine, container, "true", "1234") == (0, b"", b"", False)


def test_side_effect_probe_waits_for_late_stderr(engine: DockerEngine, container: str) -> None:
    """As without a watch: the engine listens as long as somebody could speak, or gives up after a while."""
    code, out, err, settled = run(engine, container, "(sleep 0.3; echo late >&2) &")
    assert (code, out, err, settled) == (0, b"", b"late\n", False)


def alone(engine: DockerEngine, container: str, script: str) -> int:
    return engine.exec(container, ("/bin/sh", "-e", "-c", "--", script, "sh"))


def test_side_effect_probe_keeps_environment_of_command(engine: DockerEngine, container: str) -> None:
    """Whatever its names are."""
    env = dict.fromkeys(("said", "code", "tries", "folder", "kind", "before", "_", "IFS"), "mine")
    script = "echo $said $code $tries $folder $kind $before"
    got: list[bytes] = []
    watch = SideEffectProbe(lambda data, _: got.append(data))
    engine.exec(container, watch.argv(("/bin/sh", "-c", script)), env=env, on_output=watch.feed)
    assert watch.end()
    assert b"".join(got).split() == [b"mine"] * 6


def test_side_effect_probe_keeps_output_of_command(engine: DockerEngine, container: str) -> None:
    script = "printf 'out\\n'; printf 'err \\000 \\000abc' >&2; pwd; id -u"
    assert run(engine, container, script, "1234") == (0, b"out\n/\n1234\n", b"err \0 \0abc", True)
