"""`doit migrate --split`: both ways are built, the images are compared, and a failure keeps the order."""

from __future__ import annotations

import hashlib
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, make_user, write

from phases.core import events
from phases.core.errors import HabitatError
from phases.core.migrate import image_comparison
from phases.core.migrate.command import migrate
from phases.core.migrate.image_comparison import Contents, differences, parse
from phases.core.migrate.split import split

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

#: The last COPY stays, since phases leave out files with names of credentials; the RUN before it can come later.
DOCKERFILE = "FROM base:1\n# The first.\nRUN echo one > /one\nCOPY .npmrc /x\nRUN echo two > /two\n"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    demo = DemoProject(tmp_path)
    (tmp_path / "habitats/demo/config.yaml").unlink()
    write(tmp_path, "habitats/demo/.npmrc", "x")
    write(tmp_path, "habitats/demo/Dockerfile", DOCKERFILE)
    demo.engine.on_execute = answer
    return demo


def answer(command: Command) -> tuple[int, str] | None:
    """As `list_contents.sh` does it in a container of the fake engine."""
    if command.script != image_comparison._LIST.text:
        return make_user(command)
    nodes = command.container.files.own
    digests = {path: hashlib.sha256(node.content).hexdigest() for path, node in nodes.items() if node.kind == "file"}
    rows = ["paths:", *(f"{path}|{node.kind} {node.mode:o} {node.uid} {node.gid}" for path, node in nodes.items())]
    return 0, "\n".join([*rows, "files:", *(f"{digest}  {path}" for path, digest in digests.items())])


@pytest.mark.guarantee("split-migration-is-compared")
def test_split_of_independent_scripts_builds_the_same_image(demo: DemoProject) -> None:
    result = split(demo.run_anew(), "demo", {})
    assert result
    assert result.differences == []
    folder = demo.root / "habitats/demo"
    assert (folder / "Dockerfile.rest").read_text().splitlines()[1:] == ["FROM base:1", "COPY .npmrc /x"]
    config = (folder / "config.yaml").read_text()
    assert config.index("# The first.") < config.index("echo one") < config.index("echo two")
    assert [row.place for row in result.migration.rows] == [
        "Dockerfile.rest",
        "setup.root[0]",
        "Dockerfile.rest",
        "setup.root[1]",
    ]
    assert demo.build() == []


@pytest.mark.guarantee("split-migration-is-compared")
def test_split_lists_what_differs(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/Dockerfile", DOCKERFILE.replace("/one", "/x"))
    result = split(demo.run_anew(), "demo", {})
    assert result
    assert result.differences == ["/x: another content"]


@pytest.mark.guarantee("split-migration-is-compared")
def test_split_that_fails_to_build_keeps_order_of_dockerfile(demo: DemoProject) -> None:

    def fail(command: Command) -> tuple[int, str] | None:
        return (1, "") if "test -e" in command.script else answer(command)

    demo.engine.on_execute = fail
    write(demo.root, "habitats/demo/Dockerfile", DOCKERFILE.replace("RUN echo one > /one", "RUN echo test -e > /one"))
    with pytest.raises(HabitatError, match=r"^demo: split, it can't be built, so the files keep the order of the Dock"):
        split(demo.run_anew(), "demo", {})
    folder = demo.root / "habitats/demo"
    assert "test -e" in (folder / "Dockerfile.rest").read_text()
    assert "test -e" not in (folder / "config.yaml").read_text()
    assert [call for call in demo.engine.called("create") if "compare" in call[2]]
    assert not [one for one in demo.engine.containers() if "compare" in one.name]


@pytest.mark.guarantee("split-migration-is-compared")
def test_split_that_is_interrupted_keeps_order_of_dockerfile(demo: DemoProject) -> None:
    def interrupt(command: Command) -> tuple[int, str] | None:
        if "echo one" in command.script:
            raise KeyboardInterrupt
        return answer(command)

    demo.engine.on_execute = interrupt
    with pytest.raises(KeyboardInterrupt):
        split(demo.run_anew(), "demo", {})
    assert "RUN echo one" in (demo.root / "habitats/demo/Dockerfile.rest").read_text()
    assert "echo one" not in (demo.root / "habitats/demo/config.yaml").read_text()


@pytest.mark.guarantee("migration-loses-nothing")
def test_migration_keeps_dockerfile_rest_of_somebody_else(demo: DemoProject) -> None:
    folder = demo.root / "habitats/demo"
    write(demo.root, "habitats/demo/Dockerfile.rest", "FROM mine\n")
    result = split(demo.run_anew(), "demo", {})
    assert result
    assert (folder / result.migration.backup_of_rest).read_text() == "FROM mine\n"
    assert [path.name for path in folder.glob("*before*")] == ["Dockerfile.rest.before-migration"]
    assert demo.build() == []


def test_split_that_fails_restores_dockerfile_rest(demo: DemoProject) -> None:
    """In the order of the Dockerfile all of it stays, under its own name."""

    def fail(command: Command) -> tuple[int, str] | None:
        return (1, "") if "echo one" in command.script else answer(command)

    demo.engine.on_execute = fail
    write(demo.root, "habitats/demo/Dockerfile", "FROM base:1\nRUN echo one > /one\nCOPY .npmrc /x\n")
    write(demo.root, "habitats/demo/Dockerfile.rest", "FROM mine\n")
    with pytest.raises(HabitatError, match="split, it can't be built"):
        split(demo.run_anew(), "demo", {})
    assert (demo.root / "habitats/demo/Dockerfile.rest").read_text() == "FROM mine\n"


def test_split_that_is_interrupted_does_not_wait_for_old_images(demo: DemoProject) -> None:
    """The second build removes the images of the first one in the background."""
    may_remove = threading.Event()
    project = demo.run_anew()
    part = project.fresh_copy()
    part.connection.tasks.add(lambda: (may_remove.wait(20), None)[1])
    project.connection.hurry()
    begin = time.monotonic()
    part.connection.wait_for_tasks()
    assert time.monotonic() - begin < 5
    may_remove.set()


def test_split_that_begins_after_an_interrupt_does_not_wait_either(demo: DemoProject) -> None:
    may_remove = threading.Event()
    project = demo.run_anew()
    project.connection.hurry()
    part = project.fresh_copy()
    part.connection.tasks.add(lambda: (may_remove.wait(20), None)[1])
    begin = time.monotonic()
    part.connection.wait_for_tasks()
    assert time.monotonic() - begin < 5
    may_remove.set()


def test_engine_that_is_slow_after_a_split_is_reported(demo: DemoProject) -> None:
    project = demo.run_anew()
    seen: list[events.Event] = []
    project.bus.subscribe(seen.append)
    part = project.fresh_copy()
    part.engine.timeout.report("waiting")
    part.bus.close()
    project.engine.timeout.report("still waiting")
    assert [event.text for event in seen if isinstance(event, events.Notice)] == ["waiting", "still waiting"]


def test_split_without_anything_to_split_builds_nothing(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/Dockerfile", "FROM base:1\nRUN --mount=type=bind a\nRUN b\n")
    result = split(demo.run_anew(), "demo", {})
    assert result
    assert result.differences is None
    assert not demo.engine.called("build")
    assert (demo.root / "habitats/demo/config.yaml").exists()
    assert split(demo.run_anew(), "demo", {}) is None


def test_split_keeps_a_run_that_stays_with_all_before_it(demo: DemoProject) -> None:
    text = "FROM base:1\nRUN a\nRUN --mount=type=ssh b\n# Why.\nRUN c \\\n  c\nCOPY .npmrc /x/\nRUN d\n"
    write(demo.root, "habitats/demo/Dockerfile", text)
    divided = migrate(demo.run_anew(), "demo", {}, splits=True)
    assert divided
    assert divided.rest.splitlines()[1:] == ["FROM base:1", "RUN a", "RUN --mount=type=ssh b", "COPY .npmrc /x/"]


def test_split_keeps_what_a_copy_to_a_new_user_may_need(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/Dockerfile", DOCKERFILE.replace("COPY", "COPY --chown=dev"))
    result = split(demo.run_anew(), "demo", {})
    assert result
    assert result.differences is None


# The comparison

LISTED = """\
paths:
/|directory 755 0 0
/a|b|regular file 644 0 0
/l|symbolic link 777 0 0
files:
{digest}  /a|b
links:
'/l' -> '/etc'
passwd:
root:x:0:0::/root:/bin/sh

shadow:
dev:!:19000:0:99999:7:::
"""


def test_listed_contents_are_parsed() -> None:
    listed = parse(LISTED.format(digest="0" * 64), {"user": "dev"})
    assert listed.paths == {"/": "directory 755 0 0", "/a|b": "regular file 644 0 0", "/l": "symbolic link 777 0 0"}
    assert listed.data == {"/a|b": "0" * 64, "/l": "'/etc'"}
    assert listed.accounts == {"passwd root": "x:0:0::/root:/bin/sh", "shadow dev": "!::0:99999:7:::"}


DIFFERENCES: dict[str, tuple[Contents, Contents, list[str]]] = {
    "nothing": (Contents({"/a": "f"}, {"/a": "1"}), Contents({"/a": "f"}, {"/a": "1"}), []),
    "a mode": (Contents({"/a": "f 644"}), Contents({"/a": "f 600"}), ["/a: f 644 ≠ f 600"]),
    "a content": (Contents({"/a": "f"}, {"/a": "1"}), Contents({"/a": "f"}, {"/a": "2"}), ["/a: another content"]),
    "a path of one": (
        Contents({"/a": "f"}),
        Contents({"/b": "f"}),
        ["/a: only without --split", "/b: only with --split"],
    ),
    "a log": (
        Contents({"/var/log/a": "f"}, {"/var/log/a": "1"}),
        Contents({"/var/log/a": "f"}, {"/var/log/a": "2"}),
        [],
    ),
    "a list of apt": (Contents({"/var/lib/apt/lists/a": "f"}), Contents(), []),
    "a backup": (Contents({"/etc/passwd-": "f"}), Contents(), []),
    "an account": (
        Contents(accounts={"passwd dev": "x:1000:"}),
        Contents(accounts={"passwd dev": "x:1001:"}),
        ["passwd dev: x:1000: ≠ x:1001:"],
    ),
    "a variable": (Contents(config={"env A": "1"}), Contents(), ["env A: 1 ≠ none"]),
    "a name of the container": (Contents({"/etc/hostname": "f"}, {"/etc/hostname": "1"}), Contents(), []),
}


@pytest.mark.parametrize(("one", "other", "expected"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_differences_of_images_are_lines(one: Contents, other: Contents, expected: list[str]) -> None:
    assert differences(one, other) == expected


def test_list_program_prints_what_parse_reads() -> None:
    """On this machine, below a folder of its own: everything else would take long."""
    program = image_comparison._LIST.text.replace("find / ", "find /etc/apt ")
    result = subprocess.run(("/bin/sh", "-e", "-c", program), capture_output=True, text=True, check=True)
    listed = parse(result.stdout, {})
    assert listed.paths["/etc/apt"].startswith("directory 755 0 0")
    assert listed.accounts["passwd root"].startswith("x:0:0:")
    assert all(len(digest) == 64 for path, digest in listed.data.items() if "regular" in listed.paths[path])
