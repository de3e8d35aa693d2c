"""What a config may do on the host: not before the person has agreed to it, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from unit_helpers import DemoProject, FakeTerminal, load, write

from phases.core import trust
from phases.core.build.builder import Builder
from phases.core.errors import StateError, Untrusted
from phases.core.project import Project
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime import temporary
from phases.core.trust import AgreementFile, requests_of
from phases.ui.verbs import trust as verb

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = """\
base_image: base:1
secrets:
  - {name: T, command: echo ran >>ran; echo x, phases: [setup]}
setup: {root: [echo x]}
"""

MOUNT = """\
base_image: base:1
volumes:
  - {source: /opt, dest: /v, gives_root_on_the_host: true}
setup: {root: [echo x]}
"""


@pytest.fixture(autouse=True)
def record(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what was agreed to, in a home of this test's own, and nobody trusted without a word."""
    data = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    monkeypatch.delenv("HABITATS_TRUST")
    return data / "habitats" / "trust.json"


class Person:
    """Somebody in front of a terminal, who answers every question alike. None: there is nobody."""

    def __init__(self, demo: DemoProject, answer: bool | None) -> None:
        self.demo = demo
        self.answer = answer
        self.questions: list[str] = []

    def ask(self, question: str, show: Callable[[], None]) -> bool | None:
        if self.answer is not None:
            show()
        self.questions.append(question)
        return self.answer

    @property
    def project(self) -> Project:
        """What the next run sees, with this person."""
        self.demo.builder = Builder(Project(self.demo.root, lambda: self.demo.engine, ask=self.ask))
        self.demo.seen = []
        self.demo.project.bus.subscribe(self.demo.seen.append)
        return self.demo.project

    def need(self) -> None:
        project = self.project
        project.trust.require(project.habitat("demo"))

    def shown(self) -> list[str]:
        return self.demo.lines()

    def build(self, *names: str) -> None:
        project = self.project
        phases = {phase.NAME: phase for phase in project.phases("demo")}
        try:
            for name in names or phases:
                self.demo._ran(phases[name])
        finally:
            self.demo.builder.close()


BEFORE = ("base", "users", "env", "workdir", "habitat", "files")


@pytest.mark.guarantee("host-commands-need-consent")
def test_untrusted_secret_command_without_terminal_is_refused_and_not_run(tmp_path: Path) -> None:
    person = Person(DemoProject(tmp_path, SECRET), None)
    person.build(*BEFORE)
    with pytest.raises(Untrusted) as excinfo:
        person.build("setup")
    assert str(excinfo.value) == (
        "habitats/demo/config.yaml:3: demo runs `echo ran >>ran; echo x` on this machine, for the secret T, and you "
        "have not agreed to that: check it, then type `doit trust:demo`"
    )
    assert person.shown() == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.guarantee("host-commands-need-consent")
def test_untrusted_secret_command_answered_no_is_not_run_or_recorded(tmp_path: Path, record: Path) -> None:
    person = Person(DemoProject(tmp_path, SECRET), answer=False)
    person.build(*BEFORE)
    with pytest.raises(Untrusted, match="demo: nothing was run or mounted: check it"):
        person.build("setup")
    assert person.shown() == [
        "habitats/demo/config.yaml:3: demo runs `echo ran >>ran; echo x` on this machine, for the secret T"
    ]
    assert not (tmp_path / "ran").exists()
    assert not record.exists()


@pytest.mark.guarantee("host-commands-need-consent")
def test_trusted_secret_command_is_asked_about_again_only_after_change(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, SECRET)
    person = Person(demo, answer=True)
    person.build()
    assert person.questions == ["Let demo do that on this machine?"]
    write(tmp_path, "habitats/demo/config.yaml", SECRET.replace("echo x]", "echo y]") + "env: [A=1]\n")
    Person(demo, None).build()
    write(tmp_path, "habitats/demo/config.yaml", SECRET.replace("echo x,", "echo other,").replace("echo x]", "echo z]"))
    stranger = Person(demo, None)
    with pytest.raises(Untrusted, match="echo other"):
        stranger.build()
    person.build()
    assert len(person.questions) == 2
    # What was agreed to before is another one again.
    write(tmp_path, "habitats/demo/config.yaml", SECRET)
    with pytest.raises(Untrusted):
        stranger.build()


def test_trust_in_more_requests_covers_fewer(tmp_path: Path) -> None:
    more = SECRET.replace("setup: {", "  - {name: U, command: echo u, start: true}\nsetup: {")
    demo = DemoProject(tmp_path, more)
    Person(demo, answer=True).build()
    write(tmp_path, "habitats/demo/config.yaml", SECRET)
    Person(demo, None).build()


def test_trust_question_shows_only_new_requests(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, SECRET)
    Person(demo, answer=True).build()
    more = SECRET.replace("setup: {", "  - {name: U, command: echo u, start: true}\nsetup: {")
    write(tmp_path, "habitats/demo/config.yaml", more)
    person = Person(demo, answer=True)
    person.need()
    assert person.shown() == ["habitats/demo/config.yaml:4: demo runs `echo u` on this machine, for the secret U"]


@pytest.mark.parametrize(
    "more", ["", "secrets: [{name: T, env: PATH, phases: [setup]}]\n", "volumes: [{source: ./d, dest: /d}]\n"]
)
def test_trust_config_without_host_access_needs_no_record(tmp_path: Path, record: Path, more: str) -> None:
    write(tmp_path, "habitats/demo/d/x")
    person = Person(DemoProject(tmp_path, f"base_image: base:1\n{more}setup: {{root: [echo x]}}\n"), None)
    person.build()
    assert person.questions == []
    assert not record.parent.exists()


@pytest.mark.guarantee("host-commands-need-consent")
def test_untrusted_volume_giving_root_is_refused_at_build_and_start(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, MOUNT)
    stranger = Person(demo, None)
    stranger.build(*BEFORE[:-1])
    created = len(demo.engine.called("create"))
    with pytest.raises(Untrusted, match=r"demo mounts /opt at /v \(writable\), which gives root on this machine"):
        stranger.build("files")
    assert len(demo.engine.called("create")) == created
    Person(demo, answer=True).build()
    runtime_start.start_detached(stranger.project, "demo")
    write(tmp_path, "habitats/demo/config.yaml", MOUNT.replace("dest: /v", "dest: /w"))
    created = len(demo.engine.called("create"))
    for run in (
        lambda: runtime_exec.execute(stranger.project, "demo", ["true"], FakeTerminal()),
        lambda: temporary.open_temporary_session(stranger.project, "demo", "setup").__enter__(),
    ):
        with pytest.raises(Untrusted, match="mounts /opt at /w"):
            run()
    assert len(demo.engine.called("create")) == created


def test_untrusted_secret_command_of_start_is_not_run(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, SECRET.replace("phases: [setup]", "start: true"))
    stranger = Person(demo, None)
    stranger.build()
    with pytest.raises(Untrusted):
        runtime_start.start(stranger.project, "demo", FakeTerminal(), command="true")
    assert not (tmp_path / "ran").exists()
    assert runtime_start.start(Person(demo, answer=True).project, "demo", FakeTerminal(), command="true") == 0


@pytest.mark.guarantee("host-commands-need-consent")
def test_trust_in_shared_secret_command_is_asked_for_each_habitat(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "secrets: [{name: T, command: echo x, start: true}]\n")
    write(tmp_path, "habitats/other/config.yaml", "base_image: base:1\n")
    demo = DemoProject(tmp_path)
    person = Person(demo, answer=True)
    project = person.project
    for name in ("demo", "other", "demo"):
        project.vault.values(project.habitat(name).secrets)
    assert person.questions == ["Let demo do that on this machine?", "Let other do that on this machine?"]


def test_trust_in_one_project_does_not_cover_another(tmp_path: Path) -> None:
    Person(DemoProject(tmp_path / "a", SECRET), answer=True).build()
    with pytest.raises(Untrusted):
        Person(DemoProject(tmp_path / "b", SECRET), None).build()
    (tmp_path / "link").symlink_to("a")
    Person(DemoProject(tmp_path / "link", SECRET), None).build()


def test_trust_environment_variable_all_skips_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABITATS_TRUST", "all")
    person = Person(DemoProject(tmp_path, SECRET), None)
    person.build()
    assert person.questions == []
    monkeypatch.setenv("HABITATS_TRUST", "1")
    with pytest.raises(Untrusted):
        person.need()


def test_trust_question_shows_control_characters_escaped(tmp_path: Path) -> None:
    habitat = load(tmp_path, 'base_image: b\nsecrets: [{name: T, command: "a\\n\\e[8mrm\\u202e", start: true}]\n')
    assert requests_of(habitat)[0].does == r"runs `a\n\x1b[8mrm\u202e` on this machine, for the secret T"


# The verb


def test_trust_command_shows_all_requests_and_records_answer(tmp_path: Path) -> None:
    both = SECRET.replace("setup: {", "volumes:\n  - {source: /opt, dest: /v, gives_root_on_the_host: true}\nsetup: {")
    demo = DemoProject(tmp_path, both)
    shown = [
        "habitats/demo/config.yaml:3: demo runs `echo ran >>ran; echo x` on this machine, for the secret T",
        "habitats/demo/config.yaml:5: demo mounts /opt at /v (writable), which gives root on this machine",
    ]
    for person, code, notice in (
        (Person(demo, answer=False), 1, "nothing was recorded"),
        (Person(demo, answer=True), 0, "recorded: you are asked again when this changes"),
        (Person(demo, answer=None), 0, "you have agreed to all of this already"),
    ):
        assert verb.run(person.project, "demo") == code
        assert person.shown() == shown
        assert demo.notices() == [notice]
    Person(demo, None).build()
    assert (tmp_path / "ran").exists()


def test_trust_command_without_terminal_requires_yes_option(tmp_path: Path) -> None:
    person = Person(DemoProject(tmp_path, SECRET), None)
    with pytest.raises(
        Untrusted,
        match="nothing was recorded: there is no terminal to ask on: to agree to it, type `doit trust:demo --yes`",
    ):
        verb.run(person.project, "demo")
    assert verb.run(person.project, "demo", yes=True) == 0
    assert len(person.questions) == 1
    person.build()


def test_trust_command_without_requests_says_so(tmp_path: Path, record: Path) -> None:
    demo = DemoProject(tmp_path)
    assert verb.run(Person(demo, None).project, "demo") == 0
    assert demo.notices() == ["demo does nothing on this machine that you have to agree to"]
    assert not record.exists()


# The record


@pytest.mark.guarantee("consent-record-is-private")
def test_trust_record_has_private_mode(tmp_path: Path, record: Path) -> None:
    Person(DemoProject(tmp_path, SECRET), answer=True).build()
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.parent.stat().st_mode & 0o777 == 0o700
    assert list(json.loads(record.read_text())) == [str(tmp_path)]
    assert sorted(path.name for path in record.parent.iterdir()) == ["trust.json", "trust.lock"]


@pytest.mark.guarantee("consent-record-is-private")
@pytest.mark.parametrize(
    "way", ["folder of another", "open folder", "linked folder", "open file", "file of another", "linked file"]
)
def test_trust_record_writable_by_others_is_refused(tmp_path: Path, record: Path, way: str) -> None:
    demo = DemoProject(tmp_path, SECRET)
    Person(demo, answer=True).build()
    place = record.parent if "folder" in way else record
    if "of another" in way:
        os.chown(place, 54_321, 54_321)
    elif "open" in way:
        place.chmod(0o777)
    else:
        place.rename(place.with_name("away"))
        place.symlink_to("away")
    why = "another user could write your agreements: make it yours alone: chown"
    if place.is_symlink():
        why = f"{place}: is a link: replace it by the file or folder itself"
    for answer in (True, None):
        with pytest.raises(StateError, match=why):
            Person(demo, answer).need()


@pytest.mark.guarantee("consent-record-is-private")
@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"b": 1}}', "null", "\x00"])
def test_trust_record_malformed_is_one_line_error(tmp_path: Path, record: Path, text: str) -> None:
    record.parent.mkdir(mode=0o700)
    record.write_text(text)
    with pytest.raises(StateError) as excinfo:
        Person(DemoProject(tmp_path, SECRET), answer=True).build()
    assert (
        str(excinfo.value)
        == f"{record}: was not written by this program: remove it: you are then asked again about what you agreed to"
    )
    assert record.read_text() == text


@pytest.mark.guarantee("consent-record-is-private")
def test_trust_record_written_by_parallel_runs_loses_nothing(record: Path) -> None:
    code = "import sys; from phases.core.trust import AgreementFile; from pathlib import Path\n"
    code += "for n in range(20): AgreementFile(Path(sys.argv[1])).write(sys.argv[2], str(n), ['d'])"
    runs = [subprocess.Popen((sys.executable, "-c", code, str(record), f"/p{n}"), cwd=ROOT) for n in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    actual = AgreementFile(record).read()
    assert {project: len(habitats) for project, habitats in actual.items()} == {f"/p{n}": 20 for n in range(4)}


def test_trust_questions_of_parallel_habitats_do_not_overlap(tmp_path: Path) -> None:
    write(tmp_path, "habitats/other/config.yaml", SECRET)
    demo = DemoProject(tmp_path, SECRET)
    asking = threading.Lock()

    def ask(question: str, show: Callable[[], None]) -> bool:
        assert asking.acquire(blocking=False), "two questions at once"
        threading.Event().wait(0.05)
        asking.release()
        return True

    project = Project(tmp_path, lambda: demo.engine, ask=ask)
    names = ["demo", "other"] * 4
    threads = [threading.Thread(target=project.trust.require, args=(project.habitat(name),)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: project.trust.missing(project.habitat(name)) for name in names} == {"demo": (), "other": ()}


def test_trust_record_path_defaults_to_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    for output in ("", "not/absolute"):
        monkeypatch.setenv("XDG_DATA_HOME", output)
        assert trust.record_path() == Path("/home/ada/.local/share/habitats/trust.json")
