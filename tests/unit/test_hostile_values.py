"""Whatever is written into a config, or lies in its folders, is taken literally or refused in one line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import tarfile
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_values import (
    CASES,
    ENCODINGS,
    FILE_NAMES,
    KINDS,
    NO_TEXT,
    PLACES,
    YAML,
    Case,
    make_on_host,
    note,
    scripts,
    yaml_file,
)
from unit_helpers import DemoProject, load, write

from phases.core import copied_files, json_types
from phases.core.errors import ConfigError, StateError, printable
from phases.core.files import tree
from phases.core.files.dockerignore import dockerignore
from phases.core.files.habignore import rules_of_tree
from phases.core.files.ignore import Ignore
from phases.core.files.locks import FileLock
from phases.core.files.tar import Archive
from phases.protocol import Copy
from phases.registry import habitat_phases, named
from phases.ui.screen import Screen
from phases.ui.styled import joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.model import Habitat

LINE = re.compile(r"(habitats/demo|shared|phases/system)/config\.yaml(:\d+(:\d+)?)?: .+: .+")


def one_line(error: ConfigError) -> str:
    """What a person reads, which is one line that does nothing to a terminal."""
    message = str(error)
    assert LINE.fullmatch(message), message
    assert message == printable(message)
    assert len(message) < 2500
    assert error.remedy
    return message


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project for each place: a folder for each of thousands of values would take most of the time."""
    actual = {place.name: tmp_path_factory.mktemp("place") for place in PLACES}
    for root in actual.values():
        write(root, "habitats/demo/note")
    return actual


def loaded(root: Path, case: Case) -> Habitat:
    if case.place.on_host:
        make_on_host(root / "habitats/demo", case.value)
    return load(root, case.config())


@pytest.fixture(scope="module")
def plain_scripts(roots: dict[str, Path]) -> dict[str, list[str]]:
    """The scripts of each place's plan where little is odd."""
    first = {place.name: next(case for case in CASES if case.place is place and case.taken) for place in PLACES}
    return {name: scripts(loaded(roots[name], case)) for name, case in first.items()}


@pytest.mark.guarantee("config-values-are-literal")
@pytest.mark.parametrize("case", [case for case in CASES if case.taken], ids=str)
def test_config_hostile_value_accepted_arrives_literally_in_plan(
    roots: dict[str, Path], plain_scripts: dict[str, list[str]], case: Case
) -> None:
    habitat = loaded(roots[case.place.name], case)
    assert str(case.place.arrives(habitat)) == str(case.place.meant(case.value))
    if not case.place.script:
        assert set(scripts(habitat)) <= set(plain_scripts[case.place.name])
    note(case.place.name, "literal")


@pytest.mark.parametrize("case", [case for case in CASES if not case.taken], ids=str)
def test_config_hostile_value_refused_is_one_line_with_place(roots: dict[str, Path], case: Case) -> None:
    with pytest.raises(ConfigError) as excinfo:
        loaded(roots[case.place.name], case)
    assert re.search(r"config\.yaml:\d+", one_line(excinfo.value))
    note(case.place.name, "refused")


# Whole files


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """Nothing here may take long: what does is stopped, and fails."""

    def stop(*_: object) -> None:
        raise AssertionError("it takes too long")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", YAML)
def test_config_hostile_yaml_is_accepted_or_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "habitats/demo/config.yaml").write_bytes(yaml_file(kind))
    if YAML[kind][1]:
        assert load(tmp_path).base_image == "debian"
        note("YAML", "literal")
    else:
        with pytest.raises(ConfigError) as excinfo:
            load(tmp_path)
        one_line(excinfo.value)
        note("YAML", "refused")


@pytest.mark.parametrize("kind", ENCODINGS)
def test_config_in_any_encoding_is_accepted_or_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    data, taken = ENCODINGS[kind]
    write(tmp_path, "habitats/demo/config.yaml").write_bytes(data)
    if taken:
        assert load(tmp_path).base_image == "debian"
        note("encodings", "literal")
    else:
        with pytest.raises(ConfigError) as excinfo:
            load(tmp_path)
        one_line(excinfo.value)
        note("encodings", "refused")


def test_config_value_resembling_other_yaml_type_stays_text(tmp_path: Path) -> None:
    looks = ["0755", "0o17", "0x1F", "1_000", "1.10", "1e3", "2026-11-24", "yes", "off", "=", "1" * 99]
    text = "".join(f"  - A={look}\n" for look in looks) + "".join(f"  - B{n}={look}\n" for n, look in enumerate(looks))
    branches = "".join(f"  - {{url: u, path: /p{n}, branch: {look}}}\n" for n, look in enumerate(looks))
    habitat = load(tmp_path, f"base_image: debian\nenv:\n{text}repos:\n{branches}")
    assert [habitat.env.values[f"B{number}"] for number in range(len(looks))] == looks
    assert [repo.branch for repo in habitat.repos] == looks


@pytest.mark.guarantee("unusual-files-refused")
def test_config_of_50_mb_is_refused_without_reading_whole_file(tmp_path: Path) -> None:
    config = write(tmp_path, "habitats/demo/config.yaml")
    with config.open("wb") as file:
        file.truncate(50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError) as excinfo:
            load(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "is larger than 1,000,000 bytes" in one_line(excinfo.value)
    assert peak < 5_000_000


# What stands where a file is expected

READ = {
    "habitats/demo/config.yaml": "",
    "shared/config.yaml": "base_image: debian\n",
    "habitats/demo/.habignore": "base_image: debian\n",
    "shared/.habignore": "base_image: debian\n",
    "habitats/demo/.dockerignore": "FROM debian\n",
    "habitats/demo/Dockerfile": "base_image: debian\n",
    "habitats/demo/tools": "base_image: debian\n",
    "shared/tools": "base_image: debian\n",
    "habitats/demo/tests": "base_image: debian\ntests: [check.sh]\n",
    "habitats/demo/check.sh": "base_image: debian\ntests: [check.sh]\n",
    "habitats/demo/note": "base_image: debian\nfiles: [{source: note, dest: /x}]\n",
    "shared": "base_image: debian\n",
}

#: What is a folder, or a file of bytes of any size, to begin with.
FOLDERS = {"habitats/demo/tools", "shared/tools", "habitats/demo/tests", "shared"}
BYTES = {"habitats/demo/check.sh", "habitats/demo/note", "habitats/demo/Dockerfile"}


def read_all(root: Path) -> None:
    """Load the habitat, and read all that its phases depend on."""
    habitat = load(root)
    for phase in habitat_phases(habitat):
        phase.slice(habitat)
        phase.plan(habitat)


# A file of any size can be copied, and a Dockerfile that is a link is the builder's to read.
COPIED = {(path, "5 GB") for path in BYTES} | {("habitats/demo/Dockerfile", "what can't be read")}


@pytest.mark.guarantee("unusual-files-refused")
@pytest.mark.parametrize(("path", "case"), sorted({(path, what) for path in READ for what in NO_TEXT} - COPIED))
def test_config_or_source_that_is_no_regular_file_is_refused(tmp_path: Path, path: str, case: str) -> None:
    text = READ[path]
    if path != "habitats/demo/check.sh":
        write(tmp_path, "habitats/demo/check.sh", "true\n")
    if text.startswith("FROM"):
        write(tmp_path, "habitats/demo/Dockerfile", text)
    elif path != "habitats/demo/config.yaml":
        write(tmp_path, "habitats/demo/config.yaml", text)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    NO_TEXT[case](tmp_path / path)
    taken = case == "a folder" and (path in FOLDERS or path.endswith("/note"))
    if taken or (case == "bytes" and path in BYTES):
        read_all(tmp_path)
        note(f"at {path}", "literal")
        return
    with pytest.raises(ConfigError) as excinfo:
        read_all(tmp_path)
    message = str(excinfo.value)
    assert Path(path).name in message
    assert message == printable(message)
    assert excinfo.value.remedy
    note(f"at {path}", "refused")


PATTERNS = ["!", "a\\", "\\", "!\\", "[z-a]", "[[:alpha:]]"]


@pytest.mark.parametrize("file", [".habignore", ".dockerignore"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_ignore_file_invalid_pattern_is_refused_with_line(tmp_path: Path, file: str, pattern: str) -> None:
    write(tmp_path, file, f"# a comment\n{pattern}\n")
    with pytest.raises(ConfigError) as excinfo:
        rules_of_tree(tmp_path, tmp_path) if file == ".habignore" else dockerignore(tmp_path)
    assert str(excinfo.value).startswith(f"{tmp_path}/{file}:2: ")
    note(file, "refused")


@pytest.mark.parametrize(
    "name", ["a\u2028b", "a\x85b", "a\x0bb", "a\x1cb", "#a", "!a", "a ", "\ufeffa", "*", "[a]", "(?"]
)
def test_ignore_file_escaped_pattern_matches_any_file_name(tmp_path: Path, name: str) -> None:
    escaped = "".join(f"\\{sign}" if sign in "#!*[ " else sign for sign in name)
    write(tmp_path, ".habignore").write_text(f"\n{escaped}\r\n")
    ignore = rules_of_tree(tmp_path, tmp_path)
    assert ignore(name)
    assert not ignore("ab")
    note(".habignore", "literal")


# Copied trees


def test_archive_keeps_every_file_name_and_link_target_byte_for_byte(tmp_path: Path) -> None:
    top = write(tmp_path, "tree/.keep").parent
    expected: dict[bytes, bytes] = {b".keep": b""}
    for number, name in enumerate(FILE_NAMES):
        file = top / f"{number}" / os.fsdecode(name)
        file.parent.mkdir()
        file.write_bytes(name)
        (top / f"{number}.link").symlink_to(file.name)
        expected |= {b"%d/" % number + name: name, b"%d.link" % number: name}
    with Archive() as archive:
        for item in tree.walk(top, Ignore()):
            archive.add(f"/{item.path}", item.kind, item.mode, source=item.source, target=item.target)
        with tarfile.open(fileobj=archive.finish()) as tar:
            members = [member for member in tar if not member.isdir()]
            actual = {os.fsencode(member.name): content(tar, member) for member in members}
    assert actual == expected
    for _ in FILE_NAMES:
        note("file names", "literal")
        note("link targets", "literal")


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """What is in a file, or where a link leads."""
    file = tar.extractfile(member) if member.isfile() else None
    return file.read() if file else os.fsencode(member.linkname)


def test_slice_distinguishes_all_file_names(tmp_path: Path) -> None:
    for name in FILE_NAMES:
        (tmp_path / os.fsdecode(name)).touch()
    actual = tree.identity(tree.walk(tmp_path, Ignore()))
    text = json_types.canonical(actual).decode()
    assert len(json.loads(text)) == len(FILE_NAMES) + 1


@pytest.mark.guarantee("unusual-files-refused")
@pytest.mark.parametrize("case", ["a FIFO", "a socket"])
def test_copied_folder_with_fifo_or_socket_is_refused_by_name(tmp_path: Path, case: str) -> None:
    write(tmp_path, "habitats/demo/config.yaml", "base_image: debian\n")
    NO_TEXT[case](tmp_path / "habitats/demo/odd")
    with pytest.raises(ConfigError) as excinfo:
        read_all(tmp_path)
    assert str(excinfo.value) == (
        f"{tmp_path}/habitats/demo/odd: is neither a file, a folder nor a link: name it in .habignore"
    )
    note("in a copied folder", "refused")


@pytest.mark.guarantee("copied-links-not-followed")
@pytest.mark.parametrize("case", ["a device", "a link to nothing", "a link to itself", "what can't be read"])
def test_copied_folder_links_are_copied_and_not_followed(tmp_path: Path, case: str) -> None:
    write(tmp_path, "habitats/demo/config.yaml", "base_image: debian\n")
    link = tmp_path / "habitats/demo/odd"
    NO_TEXT[case](link)
    habitat = load(tmp_path)
    actual = {item.path: item.identity() for item in copied_files.layer_tree(habitat, habitat.layers[-1])}
    assert actual["odd"] == f"link {link.readlink()}"
    note("in a copied folder", "literal")


def test_copied_hard_links_and_special_mode_bits_become_plain_files(tmp_path: Path) -> None:
    one = write(tmp_path, "tree/one", "x")
    one.chmod(0o6755)
    (tmp_path / "tree/two").hardlink_to(one)
    items = [item for item in tree.walk(tmp_path / "tree", Ignore()) if item.kind == "file"]
    assert [(item.path, item.kind, item.mode) for item in items] == [("one", "file", 0o755), ("two", "file", 0o755)]


@pytest.fixture
def deep_folder() -> Iterator[Path]:
    """A folder that is taken away again by what doesn't recurse: pytest's own cleaning does."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


def dig(folder: Path, name: str, depth: int) -> None:
    with contextlib.chdir(folder):
        for _ in range(depth):
            Path(name).mkdir()
            os.chdir(name)
        Path("file").touch()


def test_copied_tree_deeper_than_recursion_limit_is_copied(deep_folder: Path) -> None:
    dig(deep_folder, "d", 1500)
    items = list(tree.walk(deep_folder, rules_of_tree(deep_folder, deep_folder)))
    assert items[-1].path == "d/" * 1500 + "file"


def test_copied_tree_deeper_than_path_limit_is_refused(deep_folder: Path) -> None:
    dig(deep_folder, "d" * 250, 20)
    with pytest.raises(ConfigError, match=r"can't be read \(File name too long\): check that"):
        list(tree.walk(deep_folder, rules_of_tree(deep_folder, deep_folder)))


def test_copied_file_vanished_while_folder_is_read_is_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phases.core.files.tree.os.listdir", lambda _: ["gone"])
    with pytest.raises(ConfigError, match=r"gone: can't be read \(No such file or directory\): check that"):
        list(tree.walk(tmp_path, Ignore()))


def vanishes(file: Path) -> None:
    file.unlink()


def becomes_a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def becomes_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("change", [vanishes, becomes_a_fifo, becomes_a_folder])
def test_copied_file_of_changed_kind_is_error(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file = write(tmp_path, "file", "x")
    change(file)
    with Archive() as archive, pytest.raises(ConfigError) as excinfo:
        archive.add("/file", "file", 0o644, source=file)
    assert str(excinfo.value).startswith(f"{file}: can't be read (")
    with pytest.raises(ConfigError):
        tree.Item("file", "file", 0o644, file).identity()


@pytest.mark.parametrize(("size", "case"), [(0, "can't be read"), (200_000, "grew while it was copied")])
def test_copied_file_of_changed_size_is_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, case: str
) -> None:
    file = write(tmp_path, "file", "x" * 100_000)
    with Archive() as archive:
        add = archive._tar.addfile

        def meanwhile(info: tarfile.TarInfo, source: Any) -> None:
            os.truncate(file, size)
            add(info, source)

        monkeypatch.setattr(archive._tar, "addfile", meanwhile)
        with pytest.raises(ConfigError, match=case) as excinfo:
            archive.add("/file", "file", 0o644, source=file)
    assert str(excinfo.value).endswith(": run the same command again")


@pytest.mark.guarantee("ten-thousand-files-in-seconds")
def test_copying_ten_thousand_files_takes_seconds(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/config.yaml", "base_image: debian\n")
    for folder in range(100):
        top = tmp_path / f"habitats/demo/data/{folder}"
        top.mkdir(parents=True)
        for number in range(100):
            (top / f"{number}").write_text(f"{folder} {number}")
    started = time.process_time()
    habitat = load(tmp_path)
    files = named("files")
    json_types.digest(files.slice(habitat))
    with Archive() as archive:
        for step in files.plan(habitat):
            for entry in step.entries if isinstance(step, Copy) else ():
                archive.add(entry.dest, entry.kind, entry.mode, source=entry.source, target=entry.target)
        archive.finish()
    assert time.process_time() - started < 10


def test_copying_folder_with_ignored_huge_file_does_not_read_file(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/config.yaml", "base_image: debian\n")
    write(tmp_path, "habitats/demo/.habignore", "huge\n")
    NO_TEXT["5 GB"](tmp_path / "habitats/demo/huge")
    started = time.process_time()
    read_all(tmp_path)
    assert time.process_time() - started < 2


# What is kept below .stamps/

STATE = ["1-base.stamp", "1-base.json", "1-base.log", "lock", "2-users.log", "2-users.json"]


@pytest.mark.parametrize("case", [*NO_TEXT, "a link to a file"])
@pytest.mark.parametrize("file", STATE)
def test_state_file_of_other_kind_is_replaced_or_error_and_link_target_is_kept(
    tmp_path: Path, file: str, case: str
) -> None:
    precious = write(tmp_path, "precious", "mine")
    place = tmp_path / ".stamps/demo" / file
    place.parent.mkdir(parents=True)
    if case == "a link to a file":
        place.symlink_to(precious)
    else:
        NO_TEXT[case](place)
    demo = DemoProject(tmp_path, "base_image: base:1\nenv: [USER=root]\n")
    try:
        assert "users" in demo.build("users")
        note("state", "literal")
    except StateError as error:
        assert str(error).startswith(f".stamps/demo/{file}: can't be written (")  # noqa: PT017 (it may go well)
        assert str(error).endswith(": move what is in its place out of the way")  # noqa: PT017
        note("state", "refused")
    assert precious.read_text() == "mine"
    assert demo.engine.containers() == []


@pytest.mark.parametrize("case", [kind for kind in NO_TEXT if kind != "a folder"])
@pytest.mark.parametrize("folder", [".stamps", ".stamps/demo"])
def test_state_folder_of_other_kind_is_error(tmp_path: Path, folder: str, case: str) -> None:
    write(tmp_path, "habitats/demo/config.yaml")
    (tmp_path / folder).parent.mkdir(exist_ok=True)
    NO_TEXT[case](tmp_path / folder)
    with pytest.raises(StateError) as excinfo:
        DemoProject(tmp_path).build("users")
    assert re.fullmatch(r"\.stamps/demo/\S+: can't be written \(.+\): move what is in its place .*", str(excinfo.value))
    note("state", "refused")


def test_habitat_name_too_long_for_image_is_refused(tmp_path: Path) -> None:
    assert load(tmp_path, "base_image: debian\n", "x" * 200).name == "x" * 200
    with pytest.raises(ConfigError, match="can't name a habitat: rename the folder"):
        load(tmp_path, "base_image: debian\n", "x" * 201)


@pytest.mark.parametrize("other", ["/data", "/data/", "//data", "/x/../data", "../data"])
def test_volumes_with_equal_destination_are_refused(tmp_path: Path, other: str) -> None:
    rows = f"  - {{source: ., dest: /data}}\n  - {{source: ., dest: {other}}}\n"
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"base_image: debian\nvolumes:\n{rows}")
    assert one_line(excinfo.value).startswith("habitats/demo/config.yaml:4: ")


@pytest.mark.guarantee("truncated-stamp-costs-nothing")
def test_stamp_cut_at_any_byte_counts_as_absent(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    demo.build("base")
    path = tmp_path / ".stamps/demo/1-base.stamp"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert demo.project.stamps.read("base:demo") == {}
        note("state", "refused")
    path.write_bytes(whole)
    assert demo.project.stamps.read("base:demo") == json.loads(whole)


@pytest.mark.guarantee("truncated-stamp-costs-nothing")
def test_slice_cut_at_any_byte_is_written_again(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    demo.build("users")
    path = tmp_path / ".stamps/demo/2-users.json"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert demo.build("users") == []
        assert path.read_bytes() == whole


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\0", b"\x1b[2J" * 100_000, b"pid 1 since\n" * 99], ids=ascii)
def test_lock_file_with_any_content_can_be_locked(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, "lock")
    path.write_bytes(data)
    waited: list[str] = []
    lock = FileLock(path)
    lock.acquire(waited.append)
    assert path.read_text().startswith("pid ")
    lock.release()
    assert (path.read_bytes(), waited) == (b"", [])


# The terminal


@pytest.mark.guarantee("no-terminal-control-in-output")
@pytest.mark.parametrize("kind", KINDS)
def test_printed_messages_contain_no_terminal_control(kind: str) -> None:
    value = KINDS[kind]
    error = ConfigError(f"{value} is odd", where=value, remedy=f"mend {value}")
    assert "\n" not in str(error)
    shown = io.StringIO()
    screen = Screen(shown)
    screen.plain(value)
    screen.line(joined(("x ", "bold"), value))
    for text in (str(error), *shown.getvalue().split("\n")):
        assert text == printable(text)
    note("messages", "literal")


def test_printed_command_output_omits_colour_codes() -> None:
    shown = io.StringIO()
    Screen(shown).plain("\x1b[1;31mred\x1b[0m and \x1b[2Jmore")
    assert shown.getvalue() == "red and \\x1b[2Jmore\n"


def test_error_message_too_long_keeps_place_and_remedy() -> None:
    message = str(ConfigError("x" * 100_000, where="there", remedy="fix it"))
    assert len(message) < 2100
    assert message.startswith("there: xxx")
    assert message.endswith("xxx: fix it")
