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
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoProject:
    monkeypatch.setenv("TOKEN", "s3cret-word")
    monkeypatch.setenv("OTHER", "0ther-word")
    site = DemoProject(tmp_path, CONFIG + SECRETS)
    site.build()
    runtime_start.start_detached(site.run_anew(), "demo")
    return site


def printed(site: DemoProject, show: Callable[..., None] = logs.show) -> list[str]:
    """What is told of the container."""
    show(site.run_anew(), "demo")
    return [event.text for event in site.seen if isinstance(event, events.Line) and event.source == "habitat-demo"][1:]


def records(site: DemoProject) -> list[Path]:
    return sorted((site.root / ".stamps/demo").glob("delivered.*"))


def is_withheld(site: DemoProject, show: Callable[..., None] = logs.show) -> bool:
    if printed(site, show):
        return False
    (told,) = site.notices()
    assert told == (
        "the output of habitat-demo is not shown: it may contain a secret that has changed since, or that is unknown "
        "here; docker logs habitat-demo shows it with all secrets"
    )
    return True


@pytest.mark.parametrize("show", [logs.show, logs.follow])
def test_output_with_unchanged_secret_is_masked(site: DemoProject, show: Callable[..., None]) -> None:
    assert printed(site, show) == ["from init has ***"]


@pytest.mark.guarantee("container-output-needs-all-secrets")
@pytest.mark.parametrize("show", [logs.show, logs.follow])
def test_output_with_changed_secret_is_withheld(
    site: DemoProject, monkeypatch: pytest.MonkeyPatch, show: Callable[..., None]
) -> None:
    monkeypatch.setenv("TOKEN", "an0ther")
    assert is_withheld(site, show)


@pytest.mark.guarantee("container-output-needs-all-secrets")
@pytest.mark.parametrize("name", ["TOKEN", "OTHER"])
def test_output_with_unset_secret_is_withheld(site: DemoProject, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    assert is_withheld(site)


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_with_secret_removed_from_config_is_withheld(site: DemoProject) -> None:
    write(site.root, "habitats/demo/config.yaml", CONFIG)
    assert is_withheld(site)


def test_output_with_secret_and_broken_config_is_withheld(site: DemoProject) -> None:
    write(site.root, "habitats/demo/config.yaml", "setup: [")
    assert is_withheld(site)


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_with_secret_value_of_earlier_session_is_withheld(
    site: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "an0ther")
    assert runtime_exec.execute(site.run_anew(), "demo", ["true"], FakeTerminal()) == 0
    assert is_withheld(site)
    monkeypatch.setenv("TOKEN", "s3cret-word")
    assert is_withheld(site), "then the one that it was given in between isn't known"


def test_output_with_secret_restored_to_old_value_is_shown(site: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN")
    assert is_withheld(site)
    monkeypatch.setenv("TOKEN", "s3cret-word")
    assert printed(site) == ["from init has ***"]


def test_output_of_stopped_container_with_unset_secret_is_withheld(
    site: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop.stop(site.run_anew(), "demo", force=True)
    assert printed(site) == ["from init has ***"]
    monkeypatch.delenv("TOKEN")
    assert is_withheld(site)
    runtime_start.start(site.run_anew(), "demo", FakeTerminal())
    assert is_withheld(site), "another start forgets nothing"


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_of_container_without_record_is_withheld(site: DemoProject) -> None:
    """Another clone of the project made it, or .stamps was removed."""
    shutil.rmtree(site.root / ".stamps")
    assert is_withheld(site)
    assert runtime_exec.execute(site.run_anew(), "demo", ["true"], FakeTerminal()) == 0
    assert records(site)
    assert is_withheld(site), "a record that begins later can't know what was before"


def test_output_of_earlier_version_with_secrets_in_config_is_withheld(site: DemoProject) -> None:
    shutil.rmtree(site.root / ".stamps")
    for container in site.engine._containers.values():
        container.labels.pop(fingerprints.LABEL_SECRETS, None)
    assert is_withheld(site)
    write(site.root, "habitats/demo/config.yaml", "setup: [")
    assert is_withheld(site)
    write(site.root, "habitats/demo/config.yaml", CONFIG)
    assert printed(site) == ["from init has s3cret-word"]


@pytest.mark.parametrize(
    "text", ["", "x", "key 00 whole\n", "{}\n{}", "key {k} whole", "key {k} whole\n00", "key {k} part\n"]
)
def test_output_with_damaged_record_is_withheld(site: DemoProject, text: str) -> None:
    (record,) = records(site)
    record.write_text(text.replace("{k}", "0" * 64))
    assert is_withheld(site)
    assert runtime_exec.execute(site.run_anew(), "demo", ["true"], FakeTerminal()) == 0
    assert is_withheld(site)


@pytest.mark.guarantee("secret-record-is-private")
def test_output_with_record_cut_at_any_byte_is_withheld(site: DemoProject) -> None:
    (record,) = records(site)
    whole = record.read_bytes()
    lines = [0, *(place + 1 for place, byte in enumerate(whole) if byte == 10)]
    for length in range(len(whole)):
        record.write_bytes(whole[:length])
        if length not in lines[1:]:
            assert is_withheld(site)


@pytest.mark.guarantee("secret-record-is-private")
def test_record_has_mode_0600_own_key_and_no_secret_value(site: DemoProject) -> None:
    (record,) = records(site)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert b"s3cret" not in record.read_bytes()
    first = record.read_text().splitlines()
    runtime_start.start_detached(site.run_anew(), "demo", fresh=True)
    _, other = sorted(records(site), key=lambda path: path != record)
    assert not {*first} & {*other.read_text().splitlines()}, "each has a key of its own"


@pytest.mark.guarantee("secret-record-is-private")
def test_record_write_failure_keeps_secret_out_of_container(site: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "an0ther")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phases.core.secrets.fingerprints.os.write", full)
    with pytest.raises(StateError, match="make room on the disk"):
        runtime_exec.execute(site.run_anew(), "demo", ["true"], FakeTerminal())
    (container,) = site.engine._containers.values()
    assert (b"an0ther" in str(container.memory).encode()) is False


def test_output_of_habitat_without_secrets_is_shown_and_has_no_record(tmp_path: Path) -> None:
    site = DemoProject(tmp_path, CONFIG)
    site.build()
    runtime_start.start_detached(site.run_anew(), "demo")
    assert not records(site)
    assert printed(site) == ["from init has s3cret-word"]
    write(site.root, "habitats/demo/config.yaml", "setup: [")
    assert printed(site) == ["from init has s3cret-word"]


def test_output_with_secret_added_to_config_later_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret-word")
    site = DemoProject(tmp_path, CONFIG)
    site.build()
    runtime_start.start_detached(site.run_anew(), "demo")
    write(site.root, "habitats/demo/config.yaml", CONFIG + SECRETS)
    runtime_exec.execute(site.run_anew(), "demo", ["true"], FakeTerminal())
    assert printed(site) == ["from init has ***"]
    monkeypatch.delenv("TOKEN")
    assert is_withheld(site)


@pytest.mark.guarantee("secret-record-is-private")
def test_record_is_removed_together_with_its_container(site: DemoProject) -> None:
    (record,) = records(site)
    clean.clean_all(site.run_anew(), "demo")
    assert records(site) == [record]
    destroy.destroy(site.run_anew(), "demo", lambda _: True)
    assert records(site) == []


@pytest.mark.parametrize("take_away", [clean.clean_all, lambda project, name: destroy.destroy(project, name, bool)])
def test_record_of_container_removed_by_hand_is_removed_by_clean_and_destroy(
    site: DemoProject, take_away: Callable[..., object]
) -> None:
    site.engine.remove("habitat-demo")
    take_away(site.run_anew(), "demo")
    assert records(site) == []


@pytest.mark.guarantee("start-error-output-needs-all-secrets")
def test_start_error_of_ended_init_withholds_output_with_older_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret-word")
    site = DemoProject(tmp_path, CONFIG.replace("sleep 600", "exit 1") + SECRETS)
    site.build()
    with pytest.raises(StartError) as caught:
        runtime_start.start_detached(site.run_anew(), "demo")
    assert caught.value.output == ("from init has ***",)
    monkeypatch.setenv("TOKEN", "an0ther")
    with pytest.raises(StartError) as caught:
        runtime_start.start_detached(site.run_anew(), "demo")
    assert "s3cret" not in str(caught.value.output)
    assert caught.value.output[0].startswith("the output of habitat-demo is not shown: ")


@pytest.mark.guarantee("start-error-output-needs-all-secrets")
def test_start_error_of_habitat_not_ready_withholds_output_with_older_secret(
    site: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that tries may read what the main process has written down."""
    ready = "ready: {command: 'echo boot.log has s3cret-word; exit 1', timeout: 1s, interval: 1s}, init_command"
    write(site.root, "habitats/demo/config.yaml", CONFIG.replace("init_command", ready) + SECRETS)
    with pytest.raises(StartError) as caught:
        runtime_start.start_detached(site.run_anew(), "demo")
    assert caught.value.output == ("boot.log has ***",)
    monkeypatch.setenv("TOKEN", "an0ther")
    with pytest.raises(StartError) as caught:
        runtime_start.start_detached(site.run_anew(), "demo")
    said = [event.said for event in site.seen if isinstance(event, events.Waiting)]
    assert "s3cret" not in str((*caught.value.output, *said))
    assert caught.value.output[0].startswith("the output of habitat-demo is not shown: ")


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_output_with_follow_ends_when_unknown_secret_is_delivered(
    site: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = site.run_anew()

    def output(_: str, on_output: Callable[[bytes], None], *, follow: bool) -> None:
        assert follow
        on_output(b"first\n")
        monkeypatch.setenv("TOKEN", "an0ther")
        runtime_exec.execute(DemoProject.run_anew(other), "demo", ["true"], FakeTerminal())
        monkeypatch.setenv("TOKEN", "s3cret-word")
        on_output(b"then an0ther\n")

    other = DemoProject(site.root, CONFIG + SECRETS)
    other.engine = site.engine
    other.run_anew()
    monkeypatch.setattr(site.engine, "output", output)
    with pytest.raises(StartError, match="the output of habitat-demo is not shown"):
        logs.follow(project, "demo")
    lines = [event.text for event in site.seen if isinstance(event, events.Line)]
    assert lines == ["── habitat-demo (running)", "first"]
