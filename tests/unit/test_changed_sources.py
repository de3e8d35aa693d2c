"""Files of the host that change during a build: an image has what its hash says, or there is none."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, make_user, write

from phases.core import events
from phases.core.copied_files import file_tree, layer_tree, subfolder_tree
from phases.core.eject import command as eject_command
from phases.core.eject import output_dir
from phases.core.errors import ConfigError, HabitatError, SourceChanged
from phases.core.files import digest_cache, tree
from phases.core.files.ignore import Ignore
from phases.core.files.tar import Archive
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD = 10**9  # a time long ago, in seconds

CONFIG = """
base_image: base:1
files: [{source: data, dest: /srv/data}, {source: single, dest: /srv/single}]
tests: [tests/check]
"""

#: Phase, path below habitats/demo, and where it is in the image that the phase makes.
COPIED = [
    ("files", "data/one", "/srv/data/one"),
    ("files", "single", "/srv/single"),
    ("files", "own/deep", "/habitat/local/own/deep"),
    ("tools", "tools/bin/tool", "/habitat/local/tools/bin/tool"),
    ("test", "tests/check", ""),
    ("test", "tests/helper", ""),
]


def same_size_and_time(file: Path) -> None:
    file.write_text("two")
    os.utime(file, (OLD, OLD))


def grown(file: Path) -> None:
    file.write_text("one and more")


def shrunk(file: Path) -> None:
    file.write_text("")


def replaced(file: Path) -> None:
    write(file.parent, ".fresh", "two").replace(file)


def a_link(file: Path) -> None:
    target = file.with_name(".target")
    target.write_text("two")
    file.unlink()
    file.symlink_to(target)


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def gone(file: Path) -> None:
    file.unlink()


CHANGES = [same_size_and_time, grown, shrunk, replaced, a_link, a_fifo, a_folder, gone]

#: Every change of the first copied file, and two changes of each other one, in turn.
CHANGED = [
    (*copied, change)
    for number, copied in enumerate(COPIED)
    for change in (CHANGES if number == 0 else (CHANGES[number % 4], CHANGES[4 + number % 4]))
]


def site_with(root: Path, config: str = CONFIG, *more: str) -> DemoProject:
    for path in (*{path for _, path, _ in COPIED}, *more):
        file = write(root, f"habitats/demo/{path}", "one")
        os.utime(file, (OLD, OLD))
    demo = DemoProject(root, config)
    demo.engine.on_execute = lambda command: (0, "") if command.script == 'exec "$1"' else make_user(command)
    return demo


def build(demo: DemoProject, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
    """Build all that is stale. meanwhile: is called once, when the first phase starts, and so all slices are made."""
    project = demo.run_anew()
    todo = [meanwhile]

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.PhaseStarted) and todo:
            todo.pop()()

    project.bus.subscribe(on_event)
    try:
        return [phase.NAME for phase in project.phases("demo") if demo._ran(phase)]
    finally:
        demo.builder.close()


@pytest.mark.guarantee("snapshot-matches-hash")
@pytest.mark.parametrize(("phase", "path", "place", "change"), CHANGED)
def test_source_changed_after_hash_fails_phase_without_snapshot(
    tmp_path: Path, phase: str, path: str, place: str, change: Callable[[Path], None]
) -> None:
    demo = site_with(tmp_path)
    file = tmp_path / "habitats/demo" / path
    with pytest.raises(ConfigError) as excinfo:
        build(demo, lambda: change(file))
    assert str(file) in str(excinfo.value)
    assert str(excinfo.value).endswith(": run the same command again")
    tags = {tag for tag in demo.engine.tags() if f"-{phase}" in tag or "final" in tag}
    assert tags == set()
    if change in (same_size_and_time, grown, shrunk, replaced):
        assert phase in build(demo)
        assert build(demo) == []
        if place:
            assert demo.engine.files("habitat-demo:final").nodes[place].content == file.read_bytes()


@pytest.mark.guarantee("snapshot-matches-hash")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", ["Dockerfile", "copied"])
def test_build_context_changed_after_hash_fails_build_without_snapshot(
    tmp_path: Path, path: str, change: Callable[[Path], None]
) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\nCOPY copied /copied\n")
    write(tmp_path, "habitats/demo/copied", "one")
    demo = DemoProject(tmp_path, "{}\n")
    project = demo.run_anew()
    project.assess("demo")
    change(tmp_path / "habitats/demo" / path)
    with pytest.raises(ConfigError) as excinfo:
        demo.builder.build("demo", named("dockerfile"))
    assert f"habitats/demo/{path}: " in str(excinfo.value)
    assert [tag for tag in demo.engine.tags() if tag != "base:1"] == []
    assert demo.engine.called("build") == []


@pytest.mark.guarantee("file-created-after-hash")
@pytest.mark.parametrize(("phase", "path"), [("files", "data/new"), ("files", "new"), ("tools", "tools/new")])
def test_source_created_after_hash_is_copied_by_next_build(tmp_path: Path, phase: str, path: str) -> None:
    demo = site_with(tmp_path)
    build(demo, lambda: write(tmp_path, f"habitats/demo/{path}", "new"))
    names = {place.rpartition("/")[2] for place in demo.engine.files("habitat-demo:final").nodes}
    assert "new" not in names
    assert next(iter(demo.run_anew().assess("demo").stale)) == phase
    build(demo)
    assert "new" in {place.rpartition("/")[2] for place in demo.engine.files("habitat-demo:final").nodes}


def test_source_mode_changed_after_hash_is_applied_by_next_build(tmp_path: Path) -> None:
    demo = site_with(tmp_path)
    file = tmp_path / "habitats/demo/single"
    build(demo, lambda: file.chmod(0o755))
    assert demo.engine.files("habitat-demo:final").nodes["/srv/single"].mode == 0o644
    build(demo)
    assert demo.engine.files("habitat-demo:final").nodes["/srv/single"].mode == 0o755


def test_sources_read_twice_in_one_run_return_same_tree(tmp_path: Path) -> None:
    demo = site_with(tmp_path)
    habitat = demo.project.habitat("demo")
    for copy in habitat.files:
        assert file_tree(habitat, copy) is file_tree(habitat, copy)
    for layer in habitat.layers:
        assert subfolder_tree(habitat, layer, "tools") is subfolder_tree(habitat, layer, "tools")
        assert layer_tree(habitat, layer) is layer_tree(habitat, layer)
    demo.project.assess("demo")
    assert demo.project.habitat("demo").sources is habitat.sources, "also once the base image is known"


@pytest.mark.guarantee("snapshot-matches-hash")
def test_digest_cache_wrong_entry_fails_copy_and_is_corrected(tmp_path: Path) -> None:
    """Times don't tell of every write: a page that is dirty already is written through a mapping without them."""
    file = write(tmp_path, "habitats/demo/mapped", "two")
    os.utime(file, (OLD, OLD))
    demo = DemoProject(tmp_path)
    remembered = [*digest_cache.state(file.stat()), hashlib.sha256(b"one").hexdigest()]
    write(tmp_path, ".stamps/demo/digests", json.dumps({str(file): remembered}))
    with pytest.raises(SourceChanged, match="mapped: changed since it was read"):
        demo.build()
    assert demo.build()[0] == "files"
    assert demo.build() == []
    assert demo.engine.files("habitat-demo:final").nodes["/habitat/local/mapped"].content == b"two"


# While a tree is read


def once(*actions: Callable[[], object]) -> Callable[[], None]:
    todo = list(actions)

    def act() -> None:
        if todo:
            todo.pop()()

    return act


@pytest.mark.guarantee("link-replacing-source-not-followed")
@pytest.mark.parametrize("case", ["file", "folder"])
def test_tree_entry_replaced_by_link_while_read_is_not_followed(tmp_path: Path, case: str) -> None:
    """Between the look at an entry and its reading, an agent who may write there makes it a link to a secret."""
    secret = write(tmp_path, "host/secret", "s3cret")
    top = write(tmp_path, "tree/folder/secret", "harmless").parent.parent
    write(top, "file", "harmless")
    place = top / case

    def swap() -> None:
        place.rename(tmp_path / "away")
        place.symlink_to(secret if case == "file" else secret.parent)

    swapped = once(swap)

    def ignore(path: str) -> bool:
        if path.startswith(case):
            swapped()
        return False

    actual = tree.Sources().tree("", top, lambda: Ignore().also_if(ignore))
    (item,) = [item for item in actual if item.path == case]
    assert item.kind == "link"
    assert not [item for item in actual if item.path == "folder/secret" and case == "folder"]


def test_tree_file_replaced_at_every_read_raises_source_changed(tmp_path: Path) -> None:
    file = write(tmp_path, "tree/file", "x")

    def ignore(path: str) -> bool:
        if path == "file":
            write(tmp_path, "fresh", "y").replace(file)
        return False

    with pytest.raises(SourceChanged) as excinfo:
        tree.Sources().tree("", file.parent, lambda: Ignore().also_if(ignore))
    assert str(excinfo.value) == f"{file}: was replaced while it was read: run the same command again"


@pytest.mark.parametrize("change", CHANGES)
def test_archive_file_with_unexpected_digest_raises_source_changed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    file = write(tmp_path, "file", "one")
    item = tree.Item("file", "file", 0o644, file).read()
    with Archive() as archive:
        archive.add("/file", "file", 0o644, source=file, sha256=item.sha256)
    change(file)
    with Archive() as archive, pytest.raises(SourceChanged, match=f"{file}: "):
        archive.add("/file", "file", 0o644, source=file, sha256=item.sha256)


def test_environment_digest_ignores_content_of_copied_files(tmp_path: Path) -> None:
    """Snapshots that were built by earlier versions are shared all the same."""
    from phases.core.cache import sharing

    write(tmp_path, "habitats/demo/data", "one")
    habitat = load(tmp_path, "base_image: base:1\nfiles: [{source: data, dest: /srv/data}]\n")
    steps = named("files").plan(habitat)
    before = sharing.environment_digest(tmp_path, steps, (), ())
    write(tmp_path, "habitats/demo/data", "two")
    assert sharing.environment_digest(tmp_path, named("files").plan(load(tmp_path)), (), ()) == before


def test_failed_phase_of_changed_source_keeps_no_debug_image(tmp_path: Path) -> None:
    demo = site_with(tmp_path)
    with pytest.raises(HabitatError) as excinfo:
        build(demo, lambda: same_size_and_time(tmp_path / "habitats/demo/single"))
    assert "doit debug" not in str(excinfo.value)
    assert [tag for tag in demo.engine.tags() if tag.endswith("-failed")] == []


@pytest.mark.guarantee("eject-copies-what-it-read")
@pytest.mark.parametrize("name", ["plain", "odd\nname"])  # the latter is ejected in an archive
def test_eject_source_changed_meanwhile_fails_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = write(tmp_path, f"habitats/demo/data/{name}", "one")
    demo = DemoProject(tmp_path, "base_image: base:1\nfiles: [{source: data, dest: /srv/data}]\n")
    check = output_dir.check

    def meanwhile(*arguments: object) -> None:
        same_size_and_time(file)
        check(*arguments)  # type: ignore[arg-type]

    demo.project.habitat("demo").sources.tree("", file.parent, Ignore)
    monkeypatch.setattr(output_dir, "check", meanwhile)
    with pytest.raises(SourceChanged, match="run the same command again"):
        eject_command.eject(demo.project, "demo")
    assert list((tmp_path / "ejected").iterdir()) == []
