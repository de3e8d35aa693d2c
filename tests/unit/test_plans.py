"""What a plan says of each key, and that it touches nothing."""

from __future__ import annotations

import shutil
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from unit_helpers import DemoProject, make_user, write

from phases.core.cache.image_labels import final_tag, snapshot_tag
from phases.core.cache.stamps import task_name
from phases.core.errors import HabitatError
from phases.core.report import plan as report_plan
from phases.registry import NAMES, PHASES, named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.events import Plan

BUILDS = "habitats/demo/tests/builds.sh"
GREET = "habitats/demo/tools/bin/greet"

CONFIG: dict[str, Any] = {
    "base_image": "base:1",
    "env": ["USER=dev", "WORKDIR=/work", "LOCAL_PATH=/opt/local", "SYSTEM_PATH=", "HABITAT_PATH=", "COLOUR=red"],
    "files": [{"source": "payload", "dest": "/payload"}],
    "volumes": [{"source": "gate", "dest": "/gate"}],
    "secrets": [{"name": "TOKEN", "env": "TOKEN", "phases": ["setup"], "optional": True}],
    "setup": {"root": ["echo one"], "user": ["echo mine", "make\nmake check\n"]},
    "repos": [{"url": "https://example.org/a.git", "path": "app", "branch": "main", "setup": ["make deps"]}],
    "verify-fs": {"required_files": ["/bin/sh"]},
    "tests": ["tests/builds.sh"],
    "entry": {"command": "bash"},
}


class FullProject(DemoProject):
    """A project with something in every section. config: as it will be saved."""

    def __init__(self, root: Path) -> None:
        self.config = yaml.safe_load(yaml.safe_dump(CONFIG))
        for path in ("payload/a.txt", "shared/banner", "habitats/demo/notes.md", "habitats/demo/tests/helper"):
            write(root, path, "first\n")
        for path in ("habitats/demo/tests/builds.sh", "habitats/demo/tools/bin/greet"):
            write(root, path, "#!/bin/sh\n", 0o755)
        (root / "gate").mkdir()
        super().__init__(root, yaml.safe_dump(CONFIG))
        self.engine.on_execute = lambda command: make_user(command) or (0, "")

    def save(self) -> None:
        write(self.root, "habitats/demo/config.yaml", yaml.safe_dump(self.config))

    def plan(self) -> Plan:
        return report_plan.plan(self.run_anew(), "demo")

    def reasons_for(self, phase: str) -> list[str]:
        """Why a phase would run, once the config was saved."""
        self.save()
        return list(self.plan().reasons[phase])

    def files(self) -> dict[str, tuple[bytes, int]]:
        paths = [path for path in (self.root / ".stamps").rglob("*") if path.is_file()]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="module")
def built_project(tmp_path_factory: pytest.TempPathFactory) -> FullProject:
    project = FullProject(tmp_path_factory.mktemp("project"))
    assert project.build() == list(NAMES[1:])
    return project


@pytest.fixture
def project(built_project: FullProject, tmp_path: Path) -> FullProject:
    """A project that is up to date."""
    project = built_project.copy_to(tmp_path)
    project.config = deepcopy(CONFIG)
    return project


def number(project: FullProject) -> None:
    project.config["uid"] = 1234


def colour(project: FullProject) -> None:
    project.config["env"][-1] = "COLOUR=green"


def user(project: FullProject) -> None:
    project.config["env"][0] = "USER=other"


def workdir(project: FullProject) -> None:
    project.config["env"][1] = "WORKDIR=/place"


def own_path(project: FullProject) -> None:
    project.config["env"][2] = "LOCAL_PATH=/opt/other"


def moved_base(project: FullProject) -> None:
    project.engine.tag(project.engine.add_image("moved:1", command=("other",)), "base:1")


def another_base(project: FullProject) -> None:
    project.engine.add_image("base:2")
    project.config["base_image"] = "base:2"


def second_command(project: FullProject) -> None:
    project.config["setup"]["user"][1] = "make\nmake test\n"


def first_command(project: FullProject) -> None:
    project.config["setup"]["root"].insert(0, "echo zero")


def runs_as_another(project: FullProject) -> None:
    project.config["setup"] = [
        {"run_as": "root", "commands": ["echo one"]},
        {"run_as": "user", "commands": ["echo mine"]},
        {"run_as": "root", "commands": ["make\nmake check\n"]},
    ]


def no_secret(project: FullProject) -> None:
    project.config["secrets"] = []


def secret_as_variable(project: FullProject) -> None:
    project.config["secrets"][0]["variable"] = "TOKEN"


def branch(project: FullProject) -> None:
    project.config["repos"][0]["branch"] = "stable"


def cache(project: FullProject) -> None:
    project.config["caches"] = ["~/.npm"]


def setup_of_a_repo(project: FullProject) -> None:
    project.config["repos"][0]["setup"].append("make all")


def another_repo(project: FullProject) -> None:
    project.config["repos"].append({"url": "https://example.org/b.git", "path": "b"})


def no_repo(project: FullProject) -> None:
    project.config["repos"] = []


def writes(path: str, text: str = "other\n", mode: int = 0o644) -> Callable[[FullProject], None]:
    def change(project: FullProject) -> None:
        write(project.root, path, text, mode)

    return change


def folder_added(project: FullProject) -> None:
    for name in ("d/e/f", "d-x", "d/g"):
        write(project.root, f"shared/{name}")


def file_removed(project: FullProject) -> None:
    (project.root / "shared/banner").unlink()


def readonly(project: FullProject) -> None:
    project.config["volumes"][0]["readonly"] = True


def mode_of_a_copy(project: FullProject) -> None:
    project.config["files"][0]["mode"] = "0600"


def required(project: FullProject) -> None:
    project.config["verify-fs"]["required_files"].append("/etc/passwd")


def no_tests(project: FullProject) -> None:
    project.config["tests"] = []


def entry(project: FullProject) -> None:
    project.config["entry"] = {"command": "sh", "init_command": "/sbin/init"}


#: What a person changes, the phase it is about, and the reasons that the plan gives.
CHANGES: list[tuple[Callable[[FullProject], None], str, list[str]]] = [
    (moved_base, "base", ["base image base:1: moved from BEFORE… to AFTER…"]),
    (another_base, "base", ["base_image: base:1 → base:2"]),
    (user, "users", ["env.USER: dev → other"]),
    (number, "users", ["uid: added (1234)"]),
    (colour, "env", ["env.COLOUR: red → green"]),
    (workdir, "workdir", ["env.WORKDIR: /work → /place"]),
    (own_path, "habitat", ["env.LOCAL_PATH: /opt/local → /opt/other"]),
    (writes("payload/a.txt"), "files", ["payload/a.txt: changed"]),
    (writes("payload/a.txt", "first\n", 0o755), "files", ["payload/a.txt: made executable"]),
    (writes("habitats/demo/notes.md"), "files", ["habitats/demo/notes.md: changed"]),
    (writes("shared/gitconfig"), "files", ["shared/gitconfig: added"]),
    (file_removed, "files", ["shared/banner: removed"]),
    (folder_added, "files", ["shared/d: added", "shared/d-x: added"]),
    (readonly, "files", ["volumes[0].readonly: false → true"]),
    (mode_of_a_copy, "files", ['files[0].mode: "" → 0600']),
    (second_command, "setup", ["setup.user[1]: changed (line 2: make check → make test)"]),
    (first_command, "setup", ["setup.root[0]: added (echo zero)"]),
    (runs_as_another, "setup", ["setup.root[1].run_as: dev → root"]),
    (no_secret, "setup", ["secrets.TOKEN: removed"]),
    (secret_as_variable, "setup", ['secrets.TOKEN.variable: "" → TOKEN']),
    (branch, "repos", ["repos[0].branch: main → stable"]),
    (cache, "setup", ["caches: added (~/.npm)"]),
    (setup_of_a_repo, "repos", ["repos[0].setup[1]: added (make all)"]),
    (another_repo, "repos", ["repos[1]: added (https://example.org/b.git)"]),
    (no_repo, "repos", ["repos[0]: removed (https://example.org/a.git)"]),
    (writes(GREET), "tools", [f"{GREET}: changed and no longer executable"]),
    (writes("shared/tools/bin/all"), "tools", ["shared/tools: added"]),
    (required, "verify", ["verify-fs.required_files[1]: added (/etc/passwd)"]),
    (writes(BUILDS, "#!/bin/sh\n:\n", 0o755), "test", ["tests/builds.sh: changed"]),
    (writes(BUILDS, "#!/bin/sh\n:\n", 0o644), "test", ["tests/builds.sh: changed"]),
    (writes(BUILDS, "#!/bin/sh\n", 0o644), "test", ["tests/builds.sh: no longer executable"]),
    (writes("habitats/demo/tests/helper"), "test", ["habitats/demo/tests/helper: changed"]),
    (no_tests, "test", ["tests[0]: removed (/opt/local/tests/builds.sh)"]),
    (entry, "final", ["entry.command: bash → sh", 'entry.init_command: "" → /sbin/init']),
]


@pytest.mark.parametrize(("change", "phase", "expected"), CHANGES)
def test_plan_config_change_is_described_for_its_phase(
    project: FullProject, change: Callable[[FullProject], None], phase: str, expected: list[str]
) -> None:
    before = project.base
    change(project)
    ids = {"BEFORE": before[7:19], "AFTER": project.engine.tags()["base:1"][7:19]}
    for word, shown in ids.items():
        expected = [text.replace(word, shown) for text in expected]
    assert project.reasons_for(phase) == expected
    assert next(iter(project.plan().reasons)) == phase


@pytest.mark.parametrize("phase", PHASES[1:], ids=NAMES[1:])
def test_plan_change_table_covers_every_phase(phase: Any) -> None:
    assert phase.NAME in {name for _, name, _ in CHANGES}


def test_plan_dockerfile_change_is_described(project: FullProject) -> None:
    write(project.root, "habitats/demo/Dockerfile", "FROM base:1\n")
    assert project.reasons_for("dockerfile") == ["it isn't built yet"]
    assert project.reasons_for("base") == ["base_image: removed (base:1)"]
    project.build()
    write(project.root, "habitats/demo/Dockerfile", "FROM base:1\nRUN true\n")
    write(project.root, "habitats/demo/motd", "welcome\n")
    assert project.reasons_for("dockerfile") == ["habitats/demo/Dockerfile: changed", "habitats/demo/motd: added"]
    assert project.reasons_for("base") == []


def test_plan_without_change_has_no_reasons(project: FullProject) -> None:
    assert project.plan().reasons == {}


def test_plan_change_with_consequences_is_described_at_its_own_phase(project: FullProject) -> None:
    own_path(project)
    project.save()
    assert {phase: why for phase, why in project.plan().reasons.items() if why} == {
        "habitat": ["env.LOCAL_PATH: /opt/local → /opt/other"],
        "test": ["tests[0]: /opt/local/tests/builds.sh → /opt/other/tests/builds.sh"],
    }


# Reasons that are no change


def test_plan_of_habitat_never_built_lists_all_phases(tmp_path: Path) -> None:
    plan = FullProject(tmp_path).plan()
    assert plan.is_new
    assert list(plan.reasons) == list(NAMES[1:])
    assert plan.reasons["base"] == ["it isn't built yet"]
    assert plan.seconds == {}


def test_plan_image_removed_names_missing_image(project: FullProject) -> None:
    for tag in (snapshot_tag("demo", named("final")), final_tag("demo")):
        project.engine.untag(tag)
    plan = project.plan()
    assert plan.reasons == {"final": ["image habitat-demo:12-final is gone"]}
    assert not plan.is_new


def test_plan_forgotten_phase_lists_forget_before_config_change(project: FullProject) -> None:
    project.project.stamps.forget(task_name(named("repos"), "demo"))
    branch(project)
    assert project.reasons_for("repos") == ["it was forgotten", "repos[0].branch: main → stable"]


def test_plan_snapshot_with_other_parent_is_explained(project: FullProject) -> None:
    """Somebody built a snapshot anew, and not what rests on it."""
    for name in ("tools", "final"):
        project.engine.untag(snapshot_tag("demo", named(name)))
    project.engine.untag(final_tag("demo"))
    tag = snapshot_tag("demo", named("setup"))
    (image,) = [image for image in project.engine.images() if tag in image.tags]
    project.engine.add_image(tag, labels={**image.labels, "habitat.created": "now"})
    assert project.reasons_for("repos") == ["habitat-demo:8-repos was not made from the current habitat-demo:7-setup"]


def test_plan_without_stored_slices_says_config_differs(project: FullProject) -> None:
    """It has the images, and not the slices they were built from."""
    shutil.rmtree(project.root / ".stamps/demo")
    branch(project)
    assert project.reasons_for("repos") == ["the config of repos has changed since its last build"]


def test_plan_stored_slice_of_other_build_is_ignored(project: FullProject) -> None:
    write(project.root, ".stamps/demo/8-repos.built", '{"repos":[]}')
    branch(project)
    assert project.reasons_for("repos") == ["the config of repos has changed since its last build"]


def test_plan_stored_slice_unreadable_is_ignored(project: FullProject) -> None:
    kept = project.root / ".stamps/demo/8-repos.built"
    kept.unlink()
    kept.mkdir()
    branch(project)
    assert project.reasons_for("repos") == ["the config of repos has changed since its last build"]


def test_plan_after_failed_build_still_describes_change(project: FullProject) -> None:
    """The stamp is gone then, and the snapshot and its slice are not."""
    second_command(project)
    project.save()
    project.engine.on_execute = lambda _: (1, "")
    with pytest.raises(HabitatError):
        project.build()
    project.config["setup"]["user"][1] = "make\nmake all\n"
    assert project.reasons_for("setup") == ["setup.user[1]: changed (line 2: make check → make all)"]


# What it leads to


def test_plan_durations_come_from_stamp_or_snapshot_label(project: FullProject) -> None:
    """A stamp tells it, and where there is none the snapshot's label."""
    for name, taken in (("tools", 2), ("verify", 0.5), ("test", 0)):
        record = project.project.stamps.read(task_name(named(name), "demo"))
        record["_values_:"]["seconds"] = taken
        project.project.stamps.write(task_name(named(name), "demo"), record)
    project.project.stamps.drop(task_name(named("final"), "demo"))
    tag = snapshot_tag("demo", named("final"))
    (image,) = [image for image in project.engine.images() if tag in image.tags]
    labelled = project.engine.add_image(tag, labels={**image.labels, "habitat.seconds": "4.000"})
    project.engine.tag(labelled, final_tag("demo"))
    write(project.root, GREET, "other\n", 0o755)
    assert project.plan().seconds == {"tools": 2, "verify": 0.5, "test": 0, "final": 4}


@pytest.mark.parametrize("taken", ["soon", None, [], "nan", "inf", 1e999])
def test_plan_duration_malformed_is_unknown(project: FullProject, taken: object) -> None:
    record = project.project.stamps.read(task_name(named("test"), "demo"))
    record["_values_:"]["seconds"] = taken
    project.project.stamps.write(task_name(named("test"), "demo"), record)
    no_tests(project)
    project.save()
    assert "test" not in project.plan().seconds


def test_plan_changes_no_file_and_only_lists_images(project: FullProject) -> None:
    branch(project)
    colour(project)
    project.save()
    before, tags = project.files(), project.engine.tags()
    project.engine.calls.clear()
    project.plan()
    assert project.files() == before
    assert (project.engine.calls, project.engine.tags()) == ([("images",)], tags)


def test_plan_of_habitat_never_built_creates_no_file(tmp_path: Path) -> None:
    project = FullProject(tmp_path)
    project.plan()
    assert not (tmp_path / ".stamps").exists()


def test_plan_reason_of_phase_is_first_reason_of_its_plan(project: FullProject) -> None:
    colour(project)
    branch(project)
    project.save()
    rerun = project.run_anew()
    assert report_plan.reason(rerun, "demo", named("env")) == "env.COLOUR: red → green"
    assert report_plan.reason(rerun, "demo", named("repos")) == "repos[0].branch: main → stable"
    assert report_plan.reason(rerun, "demo", named("tools")) == "env runs again"
    assert report_plan.reason(rerun, "demo", named("users")) == ""
