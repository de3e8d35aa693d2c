"""What a container printed is shown only where every secret that it was given is known today."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, write

from phases.core import events
from phases.core.errors import StartError, StateError
from phases.core.runtime import clean, destroy, logs, stop
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.secrets import fingerprints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRETS = """
secrets:
  - {name: U, env: OTHER, start: true, optional: true}
  - {name: T, env: TOKEN, start: true, optional: true}
"""
CONFIG = """
base_image: base:1
entry: {init_command: 'echo from init has s3cret-word; sleep 600', command: 'true'}
"""


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoProject:
    monkeypatch.setenv("TOKEN", "s3cret-word")
    monkeypatch.setenv("OTHER", "0ther-word")
    demo = DemoProject(tmp_path, CONFIG + SECRETS)
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    return demo


def printed(demo: DemoProject, show: Callable[..., None] = logs.show) -> list[str]:
    """The output that is shown of the container."""
    show(demo.run_anew(), "demo")
    return [event.text for event in demo.seen if isinstance(event, events.Line) and event.source == "habitat-demo"][1:]


def records(demo: DemoProject) -> list[Path]:
    return sorted((demo.root / ".stamps/demo").glob("delivered.*"))


def is_withheld(demo: DemoProject, show: Callable[..., None] = logs.show) -> bool:
    if printed(demo, show):
        return False
    (notice,) = demo.notices()
    assert notice == (
        "the output of habitat-demo is not shown: it may contain a secret whose old value this machine doesn't have, "
        "so it can't be masked; docker logs habitat-demo shows it, secrets unmasked"
    )
    return True


@pytest.mark.parametrize("show", [logs.show, logs.follow])
def test_output_with_unchanged_secret_is_masked(demo: DemoProject, show: Callable[..., None]) -> None:
    assert printed(demo, show) == ["from init has ***"]


@pytest.mark.guarantee("container-output-needs-all-secrets")
@pytest.mark.parametrize("show", [logs.show, logs.follow])
def test_output_with_changed_secret_is_withheld(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, show: Callable[..., None]
) -> None:
    monkeypatch.setenv("TOKEN", "an0ther-word")
    assert is_withheld(demo, show)


@pytest.mark.guarantee("container-output-needs-all-secrets")
@pytest.mark.parametrize("name", ["TOKEN", "OTHER"])
def test_output_with_unset_secret_is_withheld(demo: DemoProject, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    assert is_withheld(demo)


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_with_secret_removed_from_config_is_withheld(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", CONFIG)
    assert is_withheld(demo)


def test_output_with_secret_and_broken_config_is_withheld(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", "setup: [")
    assert is_withheld(demo)


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_is_withheld_once_a_session_got_a_value_that_is_unknown_now(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "an0ther-word")
    assert runtime_exec.execute(demo.run_anew(), "demo", ["true"], FakeTerminal()) == 0
    assert is_withheld(demo)
    monkeypatch.setenv("TOKEN", "s3cret-word")
    assert is_withheld(demo), "then the one that it was given in between isn't known"


def test_output_with_secret_restored_to_old_value_is_shown(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN")
    assert is_withheld(demo)
    monkeypatch.setenv("TOKEN", "s3cret-word")
    assert printed(demo) == ["from init has ***"]


def test_output_of_stopped_container_with_unset_secret_is_withheld(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop.stop(demo.run_anew(), "demo", force=True)
    assert printed(demo) == ["from init has ***"]
    monkeypatch.delenv("TOKEN")
    assert is_withheld(demo)
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert is_withheld(demo), "another start forgets nothing"


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_of_container_without_record_is_withheld(demo: DemoProject) -> None:
    """Another clone of the project made it, or .stamps was removed."""
    shutil.rmtree(demo.root / ".stamps")
    assert is_withheld(demo)
    assert runtime_exec.execute(demo.run_anew(), "demo", ["true"], FakeTerminal()) == 0
    assert records(demo)
    assert is_withheld(demo), "a record that begins later can't know what was before"


def test_output_of_earlier_version_with_secrets_in_config_is_withheld(demo: DemoProject) -> None:
    shutil.rmtree(demo.root / ".stamps")
    for container in demo.engine._containers.values():
        container.labels.pop(fingerprints.LABEL_SECRETS, None)
    assert is_withheld(demo)
    write(demo.root, "habitats/demo/config.yaml", "setup: [")
    assert is_withheld(demo)
    write(demo.root, "habitats/demo/config.yaml", CONFIG)
    assert printed(demo) == ["from init has s3cret-word"]


@pytest.mark.parametrize(
    "text", ["", "x", "key 00 whole\n", "{}\n{}", "key {k} whole", "key {k} whole\n00", "key {k} part\n"]
)
def test_output_with_damaged_record_is_withheld(demo: DemoProject, text: str) -> None:
    (record,) = records(demo)
    record.write_text(text.replace("{k}", "0" * 64))
    assert is_withheld(demo)
    assert runtime_exec.execute(demo.run_anew(), "demo", ["true"], FakeTerminal()) == 0
    assert is_withheld(demo)


@pytest.mark.guarantee("secret-record-is-private")
def test_output_with_record_cut_at_any_byte_is_withheld(demo: DemoProject) -> None:
    (record,) = records(demo)
    whole = record.read_bytes()
    lines = [0, *(place + 1 for place, byte in enumerate(whole) if byte == 10)]
    for length in range(len(whole)):
        record.write_bytes(whole[:length])
        if length not in lines[1:]:
            assert is_withheld(demo)


@pytest.mark.guarantee("secret-record-is-private")
def test_record_has_mode_0600_own_key_and_no_secret_value(demo: DemoProject) -> None:
    (record,) = records(demo)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert b"s3cret" not in record.read_bytes()
    first = record.read_text().splitlines()
    runtime_start.start_detached(demo.run_anew(), "demo", fresh=True)
    _, other = sorted(records(demo), key=lambda path: path != record)
    assert not {*first} & {*other.read_text().splitlines()}, "each has a key of its own"


@pytest.mark.guarantee("secret-record-is-private")
def test_record_write_failure_keeps_secret_out_of_container(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "an0ther-word")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phases.core.secrets.fingerprints.os.write", full)
    with pytest.raises(StateError, match="make room on the disk"):
        runtime_exec.execute(demo.run_anew(), "demo", ["true"], FakeTerminal())
    (container,) = demo.engine._containers.values()
    assert (b"an0ther-word" in str(container.memory).encode()) is False


def test_output_of_habitat_without_secrets_is_shown_and_has_no_record(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, CONFIG)
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert not records(demo)
    assert printed(demo) == ["from init has s3cret-word"]
    write(demo.root, "habitats/demo/config.yaml", "setup: [")
    assert printed(demo) == ["from init has s3cret-word"]


def test_output_with_secret_added_to_config_later_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret-word")
    demo = DemoProject(tmp_path, CONFIG)
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    write(demo.root, "habitats/demo/config.yaml", CONFIG + SECRETS)
    runtime_exec.execute(demo.run_anew(), "demo", ["true"], FakeTerminal())
    assert printed(demo) == ["from init has ***"]
    monkeypatch.delenv("TOKEN")
    assert is_withheld(demo)


@pytest.mark.guarantee("secret-record-is-private")
def test_record_is_removed_together_with_its_container(demo: DemoProject) -> None:
    (record,) = records(demo)
    clean.clean_all(demo.run_anew(), "demo")
    assert records(demo) == [record]
    destroy.destroy(demo.run_anew(), "demo", lambda _: True)
    assert records(demo) == []


@pytest.mark.parametrize("take_away", [clean.clean_all, lambda project, name: destroy.destroy(project, name, bool)])
def test_record_of_container_removed_by_hand_is_removed_by_clean_and_destroy(
    demo: DemoProject, take_away: Callable[..., object]
) -> None:
    demo.engine.remove("habitat-demo")
    take_away(demo.run_anew(), "demo")
    assert records(demo) == []


@pytest.mark.guarantee("start-error-output-needs-all-secrets")
def test_start_error_of_ended_init_withholds_output_with_older_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret-word")
    demo = DemoProject(tmp_path, CONFIG.replace("sleep 600", "exit 1") + SECRETS)
    demo.build()
    with pytest.raises(StartError) as excinfo:
        runtime_start.start_detached(demo.run_anew(), "demo")
    assert excinfo.value.output == ("from init has ***",)
    monkeypatch.setenv("TOKEN", "an0ther-word")
    with pytest.raises(StartError) as excinfo:
        runtime_start.start_detached(demo.run_anew(), "demo")
    assert "s3cret" not in str(excinfo.value.output)
    assert excinfo.value.output[0].startswith("the output of habitat-demo is not shown: ")


@pytest.mark.guarantee("start-error-output-needs-all-secrets")
def test_start_error_of_habitat_not_ready_withholds_output_with_older_secret(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that tries may read what the main process has written down."""
    ready = "ready: {command: 'echo boot.log has s3cret-word; exit 1', timeout: 1s, interval: 1s}, init_command"
    write(demo.root, "habitats/demo/config.yaml", CONFIG.replace("init_command", ready) + SECRETS)
    with pytest.raises(StartError) as excinfo:
        runtime_start.start_detached(demo.run_anew(), "demo")
    assert excinfo.value.output == ("boot.log has ***",)
    monkeypatch.setenv("TOKEN", "an0ther-word")
    with pytest.raises(StartError) as excinfo:
        runtime_start.start_detached(demo.run_anew(), "demo")
    output = [event.said for event in demo.seen if isinstance(event, events.Waiting)]
    assert "s3cret" not in str((*excinfo.value.output, *output))
    assert excinfo.value.output[0].startswith("the output of habitat-demo is not shown: ")


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_with_follow_ends_when_unknown_secret_is_delivered(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = demo.run_anew()

    def output(_: str, on_output: Callable[[bytes], None], *, follow: bool) -> None:
        assert follow
        on_output(b"first\n")
        monkeypatch.setenv("TOKEN", "an0ther-word")
        runtime_exec.execute(DemoProject.run_anew(other), "demo", ["true"], FakeTerminal())
        monkeypatch.setenv("TOKEN", "s3cret-word")
        on_output(b"then an0ther\n")

    other = DemoProject(demo.root, CONFIG + SECRETS)
    other.engine = demo.engine
    other.run_anew()
    monkeypatch.setattr(demo.engine, "output", output)
    with pytest.raises(StartError, match="the output of habitat-demo is not shown"):
        logs.follow(project, "demo")
    lines = demo.lines()
    assert lines == ["── habitat-demo (running)", "first"]
