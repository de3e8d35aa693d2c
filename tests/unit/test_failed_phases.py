"""What is kept of a phase that failed, and `debug` in it, on the fake engine."""

from __future__ import annotations

import json
import secrets
import shlex
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from msgspec.structs import asdict, replace
from unit_helpers import DemoProject, FakeTerminal, write

from phases.core.build import failure as build_failure
from phases.core.build.failure import Failure
from phases.core.cache import image_labels
from phases.core.engine.docker_api.payloads import instruction_word
from phases.core.errors import (
    Conflict,
    EngineError,
    EngineUnreachable,
    HabitatError,
    NotFound,
    SecretError,
    StartError,
    StateError,
)
from phases.core.files import phase_log
from phases.core.runtime import clean, logs
from phases.core.runtime import debug as runtime_debug
from phases.core.runtime.session.attach import SHELL
from phases.registry import named

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

FAILING = "base_image: base:1\nsetup: {root: ['echo one; exit 3']}\n"
TAG = "habitat-demo:7-setup-failed"


def failing(root: Path, text: str = FAILING, until: str = "final") -> tuple[DemoProject, HabitatError]:
    demo = DemoProject(root, text)
    return demo, fails(demo, until)


def fails(demo: DemoProject, until: str = "final") -> HabitatError:
    with pytest.raises(HabitatError) as excinfo:
        demo.build(until)
    return excinfo.value


def config(demo: DemoProject, text: str) -> None:
    write(demo.root, "habitats/demo/config.yaml", text)


def kept(demo: DemoProject) -> list[str]:
    return [tag for tag in demo.engine.tags() if tag.endswith("-failed")]


def labels(demo: DemoProject, tag: str = TAG) -> dict[str, str]:
    return demo.engine._image(tag).labels


def recorded_failure(demo: DemoProject, tag: str = TAG) -> Failure:
    actual = build_failure.read_labels(labels(demo, tag))
    assert actual
    return actual


def debug(demo: DemoProject, typed: bytes = b"exit 0\n", *, interactive: bool = False, piped: bool = True) -> int:
    terminal = FakeTerminal(typed=typed, interactive=interactive, piped=piped)
    return runtime_debug.debug(demo.run_anew(), "demo", terminal)


def command(demo: DemoProject) -> Command:
    """The shell's."""
    return demo.engine.commands[-1]


# What is kept


def test_failed_phase_is_kept_as_image_and_error_names_doit_debug(tmp_path: Path) -> None:
    demo, error = failing(tmp_path, "base_image: base:1\nsetup: {root: ['echo x >/half; exit 3']}\n")
    assert demo.engine.files(TAG).find("/half")
    assert str(error) == (
        "habitats/demo/config.yaml:2: setup command 1 of 1 ended with exit code 3: fix it, then run the same command; "
        "log: .stamps/demo/7-setup.log; `doit debug:demo` opens a shell there"
    )
    assert demo.engine.containers() == []


def test_failed_image_labels_describe_habitat_phase_and_failure(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    image_labels = labels(demo)
    assert {
        key: image_labels[key] for key in image_labels if key in ("habitat.name", "habitat.phase", "habitat.result")
    } == {
        "habitat.name": "demo",
        "habitat.phase": "setup",
        "habitat.result": "fail",
    }
    assert image_labels["habitat.parent"] == demo.engine.tags()["habitat-demo:6-files"]
    assert "setup.hash" not in image_labels, "or it could be taken for a snapshot"
    failure = recorded_failure(demo)
    assert (failure.user, failure.workdir, failure.code) == ("root", "/workspace", 3)
    assert (failure.script, failure.args) == ("echo one; exit 3", [])
    assert (failure.where, failure.what) == ("habitats/demo/config.yaml:2", "setup command 1 of 1")


@pytest.mark.guarantee("failed-phase-kept-for-debug")
def test_failed_image_tagged_as_snapshot_does_not_count_as_snapshot(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    demo.engine.tag(TAG, "habitat-demo:7-setup")
    assert "setup" in demo.run_anew().assess("demo").stale


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("verify-fs: {required_files: [/nowhere]}", "10-verify-failed"),
        ("tests: [tests/t.sh]", "11-test-failed"),
        ("setup: {root: [sleep 5]}\ntimeouts: {setup: 1s}", "7-setup-failed"),
        ("setup: [{run_as: nobody-here, commands: [x]}]", "7-setup-failed"),
    ],
)
def test_failed_phase_of_any_failure_kind_is_kept_and_can_be_entered(tmp_path: Path, text: str, tag: str) -> None:
    write(tmp_path, "habitats/demo/tests/t.sh")
    demo, error = failing(tmp_path, f"base_image: base:1\n{text}\n")
    assert kept(demo) == [f"habitat-demo:{tag}"]
    assert error.remedy.endswith("`doit debug:demo` opens a shell there")
    assert debug(demo, interactive=True) == 0


def test_failed_phase_with_refused_upload_is_kept(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    demo.build("habitat")
    demo.engine.failures["put_archive"] = EngineError("copying into /: no")
    assert str(fails(demo)) == (
        "demo: files: copying into /: no: run the same command again; log: .stamps/demo/6-files.log; "
        "`doit debug:demo` opens a shell there"
    )
    assert kept(demo) == ["habitat-demo:6-files-failed"]


@pytest.mark.parametrize(
    "error", [StateError("our disk is full"), SecretError("no keys"), NotFound("gone"), Conflict("going")]
)
def test_failed_phase_with_host_or_engine_error_is_not_kept(tmp_path: Path, error: HabitatError) -> None:
    demo = DemoProject(tmp_path, FAILING)
    demo.build("files")
    demo.engine.failures["commit" if isinstance(error, EngineError) else "exec"] = error
    assert "debug" not in str(fails(demo))
    assert (kept(demo), demo.notices()) == ([], [])


def test_failed_phase_without_container_creation_is_not_kept(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    demo.build("habitat")
    demo.engine.failures["create"] = EngineError("no")
    assert "debug" not in str(fails(demo))
    assert (kept(demo), demo.notices()) == ([], [])


def test_failed_base_image_pull_keeps_nothing_and_error_omits_debug(tmp_path: Path) -> None:
    demo, error = failing(tmp_path, "base_image: absent:1\n")
    assert kept(demo) == []
    assert "debug" not in str(error)


def test_failed_image_of_habitat_is_replaced_by_next_failure(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path, "base_image: base:1\nverify-fs: {required_files: [/nowhere]}\n")
    config(demo, FAILING)
    fails(demo)
    assert kept(demo) == [TAG]
    first = demo.engine.tags()[TAG]
    config(demo, FAILING.replace("one", "two"))
    fails(demo)
    assert kept(demo) == [TAG]
    assert recorded_failure(demo).script == "echo two; exit 3"
    assert demo.engine.image_config(first) is None


def test_successful_phase_removes_failed_image_and_its_parents(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    config(demo, "base_image: base:1\n")
    assert demo.build()[0] == "setup"
    assert kept(demo) == []
    assert all(image.tags for image in demo.engine.images())


@pytest.mark.parametrize(("first", "goes"), [("files", True), ("setup", True), ("repos", False)])
def test_clean_from_phase_removes_failed_image_of_that_or_later_phase(tmp_path: Path, first: str, goes: bool) -> None:
    demo, _ = failing(tmp_path)
    project = demo.run_anew()
    counted = clean.count(project, "demo", named(first))
    assert clean.clean_from(project, "demo", named(first)) == counted
    assert (kept(demo) == []) is goes


def test_clean_all_removes_failed_image(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    assert clean.clean_all(demo.run_anew(), "demo") == 7
    assert demo.engine.tags() == {"base:1": demo.base}


def test_failed_image_not_tagged_by_killed_run_is_removed_by_next_run(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    image = demo.engine._tags.pop(TAG)
    fails(demo)
    assert demo.engine.image_config(image) is None


@pytest.mark.guarantee("failed-phase-not-keepable")
@pytest.mark.parametrize("method", ["commit", "tag"])
def test_failed_image_commit_error_leaves_original_error_and_gives_notice(tmp_path: Path, method: str) -> None:
    demo = DemoProject(tmp_path, FAILING)
    demo.build("files")
    demo.engine.failures[method] = EngineError("no space left on device")
    error = fails(demo)
    assert "ended with exit code 3" in str(error)
    assert "debug" not in str(error)
    assert demo.notices() == ["what is left of setup could not be kept: no space left on device"]
    assert demo.engine.containers() == []


def test_failed_phase_with_unreachable_engine_commits_nothing(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, FAILING)
    demo.build("files")
    commits = demo.engine.called("commit")
    demo.engine.failures["exec"] = EngineUnreachable("gone")
    fails(demo)
    assert demo.engine.called("commit") == commits
    assert demo.notices() == []


def test_failed_phase_during_shutdown_is_not_kept(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, FAILING)
    demo.build("files")
    project = demo.run_anew()

    def stop(_: Command) -> tuple[int, str]:
        project.maker.close()
        raise NotFound("its container was removed")

    demo.engine.on_execute = stop
    with pytest.raises(HabitatError):
        demo.builder.build("demo", named("setup"))
    demo.builder.close()
    assert kept(demo) == []
    assert demo.notices() == []


# What its labels hold


@pytest.mark.parametrize(
    "script",
    ["echo \"it's\" '$HOME' $(id) \\ \\n `x`\n# é 🙂 \x00\x1b[2J\n", "x" * 200_000, "é" * 60_000, '"' * 31_000, ""],
    ids=["signs", "long", "wide", "quotes", "empty"],
)
def test_failure_labels_round_trip_keeps_every_byte(script: str) -> None:
    failure = Failure(
        "m", "w", 1.5, "u", "/", "what", {"A": "$B"}, script, ["1", ""], 7, [{"at": "/x", "locked": True}]
    )
    written = failure.labels()
    assert max(map(len, written.values())) <= 30_000
    assert build_failure.read_labels(written) == failure


@pytest.mark.parametrize("text", ["", "{", "[]", '{"message": 1}'])
def test_failure_labels_malformed_are_ignored(text: str) -> None:
    assert build_failure.read_labels({f"{build_failure.LABEL_FAILURE}.0": text}) is None
    assert build_failure.read_labels({}) is None


@pytest.mark.guarantee("debug-shows-last-failure")
def test_failure_labels_of_older_version_are_read() -> None:
    failure = Failure("m", "w", 1.5, "u", "/", script="x" * 70_000, args=[], caches=[])
    text = json.dumps(asdict(failure))
    labels = {f"{build_failure.LABEL_FAILURE}.{part}": text[part * 30_000 : (part + 1) * 30_000] for part in range(3)}
    assert build_failure.read_labels(labels) == failure


@pytest.mark.guarantee("debug-shows-last-failure")
def test_failure_labels_of_base_image_are_ignored() -> None:
    failure = Failure("m", "w", 1.5, "u", "/", args=[], caches=[])
    base = {f"{build_failure.LABEL_FAILURE}.{number}": "junk" for number in range(5)}
    assert build_failure.read_labels(base | failure.labels()) == failure
    assert build_failure.read_labels({f"{build_failure.LABEL_FAILURE}.{number}": "" for number in range(5)}) is None


@pytest.mark.guarantee("debug-shows-last-failure")
def test_failure_labels_with_decompression_bomb_are_ignored() -> None:
    bomb = b64encode(zlib.compress(b" " * (100 << 20))).decode()
    assert build_failure.read_labels({f"{build_failure.LABEL_FAILURE}.0": bomb}) is None


@pytest.mark.guarantee("debug-shows-last-failure")
@pytest.mark.parametrize(
    "more",
    [
        {"message": "é" * 2_000_000},
        {"script": secrets.token_hex(500_000)},
        {"env": {f"V{number}": secrets.token_hex(30_000) for number in range(20)}},
        {"args": [secrets.token_hex(500_000)], "script": "ours"},
        {"where": secrets.token_hex(500_000), "what": secrets.token_hex(500_000)},
        {"caches": [{"at": secrets.token_hex(500_000)}]},
    ],
    ids=["message", "script", "environment", "arguments", "place", "caches"],
)
def test_failure_labels_too_long_are_shortened_with_notice(more: dict[str, Any]) -> None:
    failure = replace(Failure("it failed", "w", 1.5, "u", "/", code=3), **more)
    labels = failure.labels()
    assert sum(len(quote(instruction_word(label))) for label in labels.values()) < 800_000
    actual = build_failure.read_labels(labels)
    assert actual
    assert (actual.user, actual.code) == ("u", 3)
    assert (
        actual == failure
        or "too long to be kept" in actual.message
        or "…" in actual.message + actual.where + actual.what
    )
    assert not actual.args or actual.script


@pytest.mark.guarantee("debug-shows-last-failure")
@pytest.mark.parametrize("error", [EngineError("committing the snapshot: 431"), NotFound("gone")])
def test_failed_image_commit_error_removes_older_failed_image(tmp_path: Path, error: EngineError) -> None:
    demo, _ = failing(tmp_path)
    config(demo, "base_image: base:1\nsetup: {root: ['echo two; exit 4']}\n")
    demo.engine.failures["commit"] = error
    fails(demo)
    assert kept(demo) == []
    with pytest.raises(StartError, match="there is no failed phase to debug"):
        debug(demo)


# debug


def test_debug_shell_runs_as_user_in_workdir_of_failed_command(tmp_path: Path) -> None:
    demo, _ = failing(
        tmp_path,
        "base_image: base:1\nenv: [HOME=/h]\nsetup: [{run_as: agent, commands: ['exit 3']}]\nentry: {network: none}\n",
    )
    assert debug(demo, b"exit 9\n", interactive=True) == 9
    actual = command(demo)
    assert (actual.argv, actual.user, actual.workdir) == (SHELL, "agent", "/workspace")
    assert actual.container.image == demo.engine.tags()[TAG]
    assert actual.container.restrictions.network == "bridge", "as in a build"
    assert actual.container.restrictions.privileges
    assert demo.engine.containers() == []


def test_debug_without_terminal_reads_commands_from_stdin(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    debug(demo, b"echo hello\n")
    assert command(demo).stdin == b"echo hello\n"


def test_debug_again_script_runs_failed_command_as_build_did(tmp_path: Path) -> None:
    script = "echo \"it's\" '$HOME'\nexit 3\n"
    demo, _ = failing(tmp_path, f"base_image: base:1\nsetup: {{root: [{json.dumps(script)}]}}\n")
    seen: list[str] = []

    def look(command: Command) -> tuple[int, str] | None:
        if command.argv == SHELL:
            node = command.container.files.find(f"{command.env['PATH'].split(':')[0]}/{runtime_debug.AGAIN}")
            assert node
            assert node.mode == 0o755
            seen.append(node.content.decode())
        return None

    demo.engine.on_execute = look
    debug(demo)
    (text,) = seen
    words = shlex.split(text, comments=True)
    assert words == ["cd", "/workspace", "&&", "exec", "/bin/sh", "-e", "-c", "--", script, "sh"]
    assert command(demo).env["PATH"].endswith(":/bin")


def test_debug_container_has_volumes_and_secrets_of_phase(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/data/note")
    text = (
        FAILING + "volumes: [{source: data, dest: /data}]\n"
        "secrets: [{name: T, command: echo s3cret-word, phases: [setup], variable: T},"
        " {name: U, command: echo other-word, start: true}]\n"
    )
    demo, _ = failing(tmp_path, text)
    assert "s3cret" not in str(labels(demo))
    debug(demo)
    actual = command(demo)
    assert [bind.dest for bind in actual.container.binds] == ["/data"]
    assert actual.container.memory == {"/run/secrets/T": ("root", b"s3cret-word")}
    assert actual.env["T"] == "s3cret-word"


def test_debug_prints_failure_last_output_and_next_steps(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    debug(demo)
    first, *rest = demo.lines()
    assert first.startswith("── setup failed at 20")
    assert first.endswith(": habitats/demo/config.yaml:2")
    assert rest == [
        "setup command 1 of 1 ended with exit code 3",
        "    $ echo one; exit 3",
        "── the end of its output (.stamps/demo/7-setup.log)",
        "    one",
        "── a shell there, as root in /workspace",
        "    again            runs the failed command again",
        "    exit             ends the shell and discards all changes",
        "    doit start:demo  continues the build, once the cause is fixed",
    ]


def test_debug_long_script_is_shortened_and_missing_log_is_omitted(tmp_path: Path) -> None:
    lines = "".join(f"echo line {number}\n" for number in range(30))
    demo, _ = failing(tmp_path, f"base_image: base:1\nsetup: {{root: [{json.dumps(lines + 'exit 3')}]}}\n")
    debug(demo)
    shown = demo.lines()
    assert "    > echo line 11" in shown
    assert "    … and 19 lines more" in shown
    assert [line for line in shown if line.startswith("    line")] == [f"    line {n}" for n in range(18, 30)]
    (tmp_path / ".stamps/demo/7-setup.log").unlink()
    debug(demo)
    assert "── the end of its output (.stamps/demo/7-setup.log)" not in demo.lines()


def test_debug_log_shortened_before_failed_command_shows_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phase_log, "HEAD", 60)
    monkeypatch.setattr(phase_log, "TAIL", 200)
    lines = "".join(f"echo line {number}\n" for number in range(100))
    demo, _ = failing(tmp_path, f"base_image: base:1\nsetup: {{root: [{json.dumps(lines + 'exit 3')}]}}\n")
    debug(demo)
    assert [line for line in demo.lines() if line.startswith("    line")] == [f"    line {n}" for n in range(88, 100)]
    log = tmp_path / ".stamps/demo/7-setup.log"
    assert log.stat().st_size <= 460
    shown = [line for line in log.read_text().splitlines() if "left out" in line]
    demo.run_anew()
    logs.show_phase(demo.project, "demo", "setup")
    assert [line for line in demo.lines() if "left out" in line] == shown


def test_debug_of_failure_without_command_has_no_again_command(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path, "base_image: base:1\nverify-fs: {required_files: [/nowhere]}\n")
    debug(demo)
    assert demo.lines()[1:] == [
        "1 required path is missing: /nowhere",
        "── a shell there, as agent in /workspace",
        "    exit             ends the shell and discards all changes",
        "    doit start:demo  continues the build, once the cause is fixed",
    ]


def test_debug_with_missing_user_runs_as_root_and_says_so(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path, "base_image: base:1\nsetup: [{run_as: bob, commands: [x]}]\n")
    debug(demo)
    assert command(demo).user == "root"
    assert "    the image has no user 'bob'" in demo.lines()


def test_debug_phase_up_to_date_again_gives_notice(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    demo.build()
    config(demo, FAILING)
    fails(demo)
    config(demo, "base_image: base:1\n")
    debug(demo)
    assert demo.notices() == ["setup is up to date now: this is an earlier failure"]


def test_debug_without_failed_image_is_error_with_next_commands(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    with pytest.raises(StartError) as excinfo:
        debug(demo)
    assert str(excinfo.value) == (
        "demo: there is no failed phase to debug: `doit start:demo` builds it, "
        "`doit shell:demo --at PHASE` opens a shell in a snapshot"
    )


def test_debug_without_terminal_or_pipe_is_error_without_container(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    before = demo.engine.called("create")
    with pytest.raises(StartError, match="a shell needs a terminal, or commands from a pipe"):
        debug(demo, piped=False)
    assert demo.engine.called("create") == before


@pytest.mark.parametrize("method", ["put_archive", "start", "exec_piped"])
def test_debug_container_is_removed_after_engine_error(tmp_path: Path, method: str) -> None:
    demo, _ = failing(tmp_path)
    demo.engine.failures[method] = EngineError("no")
    with pytest.raises(EngineError):
        debug(demo)
    assert demo.engine.containers() == []
    assert kept(demo) == [TAG]


def test_debug_image_untagged_meanwhile_is_removed_at_end(tmp_path: Path) -> None:
    demo, _ = failing(tmp_path)
    image = demo.engine.tags()[TAG]

    def mend(command: Command) -> None:
        if command.argv == SHELL:
            demo.engine.untag(TAG)
            assert demo.engine.image_config(image)

    demo.engine.on_execute = mend
    debug(demo)
    assert demo.engine.image_config(image) is None
    assert image_labels.failed_tag("demo", named("setup")) == TAG
