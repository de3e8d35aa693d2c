"""A sample of the hostile input on the real engine: the container itself says whether each value arrived byte for byte.

tests/unit/test_hostile_values.py tries every value at every place.
"""

from __future__ import annotations

import os
import posixpath
import random
import re
import shlex
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import PREFIX, CommandResult, Project, clear, fresh_name, inspect, snapshots
from hostile_values import CASES, FILE_NAMES, KINDS, NO_TEXT, PLACES, Case, is_folder, make_on_host, note, quoted

from phases.core.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def taken(place: str) -> dict[str, str]:
    """The values that a place takes, by kind."""
    (actual,) = (one for one in PLACES if one.name == place)
    return {kind: value for kind, value in KINDS.items() if kind not in actual.refused | actual.elsewhere}


def file_names(place: str) -> dict[str, str]:
    """The values that a place takes, and that a file of the host can have as its name."""
    return {
        kind: value
        for kind, value in taken(place).items()
        if "/" not in value and value.strip(".") and len(value) < 256
    }


#: The values at each place of the habitat that is built: each kind at two of the places that take it.
BUILT: dict[str, dict[str, str]] = {}


def choose_built_values() -> None:
    chosen = random.Random(1)
    values = {place: taken(place) for place in ("env value", "setup script", "files.dest")}
    values |= {place: file_names(place) for place in ("files.source", "volumes.source", "repos.url", "tests")}
    for kind in KINDS:
        places = [place for place in values if kind in values[place]]
        for place in chosen.sample(places, min(2, len(places))):
            BUILT.setdefault(place, {})[kind] = KINDS[kind]


choose_built_values()


def refused_sample() -> list[Case]:
    """Two refused values of each kind, and one at each place."""
    chosen = random.Random(1)
    refused = [case for case in CASES if not case.taken]
    groups = [([case for case in refused if case.kind == kind], 2) for kind in KINDS]
    groups += [([case for case in refused if case.place is place], 1) for place in PLACES]
    sample = [case for cases, count in groups for case in chosen.sample(cases, min(count, len(cases)))]
    return list({str(case): case for case in sample}.values())


# What is refused


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], CommandResult]:
    """A sample of the refused values, each in a habitat of its own, and what one run says of them all."""
    project = Project(tmp_path_factory.mktemp("refused"))
    places: dict[str, str] = {}
    for number, case in enumerate(refused_sample()):
        name = f"{PREFIX}-refused-{number}"
        project.write(f"habitats/{name}/note")
        project.habitat(name, case.config())
        if case.place.on_host:
            make_on_host(project.root / "habitats" / name, case.value)
        places[name] = case.place.name
    return places, project.doit(*(f"base:{name}" for name in places))


@pytest.mark.guarantee("config-values-are-literal")
@pytest.mark.engine
def test_refused_values_are_one_line_each_with_place(refused: tuple[dict[str, str], CommandResult]) -> None:
    places, result = refused
    assert result.code != 0
    assert "Traceback" not in result.out
    lines = [line for line in result.out.splitlines() if "❌" in line]
    messages = Counter(line.split(" ", 1)[0] for line in lines)
    assert messages == dict.fromkeys(places, 1)
    for line in lines:
        assert re.fullmatch(r"(\S+) +│ ❌ (habitats/\1|phases/system)/config\.yaml:\d+: .+: .+", line), line
        assert line == printable(line)
    for place in places.values():
        note(f"{place} (doit)", "refused")


@pytest.mark.engine
def test_refused_values_create_no_image(refused: tuple[dict[str, str], CommandResult], engine: DockerEngine) -> None:
    assert [tag for image in engine.images() for tag in image.tags if f"{PREFIX}-refused" in tag] == []


# What is taken

#: Every sign that a path of the habitat's own can have, one name after the other, and spaces at the end.
WORKDIR = "/w/" + "/".join([value for value in taken("WORKDIR").values() if value.strip("./")] + ["  padded  "])
LOCAL = "/habitat/local"

# In the habitat: compares what arrived with what is written in files of its folder, expect/KIND/NUMBER.
CHECK = r"""#!/bin/sh
# A value from a file, into $value; the shell would take newlines off its end.
value_of() { value=$(cat "$1"; echo x); value=${value%x}; }
same() { cmp - "$1" || echo "$1 differs" >>/tmp/wrong; }
cd "$LOCAL_PATH/expect" || exit 1
for file in env/*; do
    eval "printf %s \"\$V${file#env/}\"" | same "$file"
    env -i sh -c ". /etc/profile.d/habitat.sh; printf %s \"\$V${file#env/}\"" | same "$file"
done
for file in path/*; do
    value_of "$file"
    cat "$value" | same "content/${file#path/}"
done
for file in script/*; do
    cat "/out/${file#script/}" | same "$file"
done
for file in tree/*; do
    value_of "$file"
    here=$LOCAL_PATH/tree/${file#tree/}
    cat "$here/$value" | same "$file"
    target=$(readlink "$here.link"; echo x)
    printf %s "${target%?x}" | same "$file"
done
for file in branch/*; do
    value_of "repo/${file#branch/}"
    { git -C "$value" symbolic-ref --short HEAD | tr -d '\n'; } | same "$file"
    cat "$value/note" | same "$file"
done
[ "$(pwd -P; cd "$WORKDIR"; pwd -P)" = "$LOCAL_PATH/expect
$WORKDIR" ] || echo "the workdir is $(pwd)" >>/tmp/wrong
[ "$(odd-tool)" = installed ] || echo "PATH is $PATH" >>/tmp/wrong
find / -xdev -name pwned 2>/dev/null >>/tmp/wrong
cat /tmp/wrong
[ ! -s /tmp/wrong ]
"""


class HostileHabitat:
    """A habitat with values of every kind that is taken anywhere, all at once."""

    def __init__(self, project: Project, name: str, image: str) -> None:
        self.project = project
        self.name = name
        self.folder = project.root / "habitats" / name
        self.count = 0
        self.config: dict[str, Any] = {
            "base_image": image,
            "env": ["USER=odd.one_1-x", f"WORKDIR={quoted(WORKDIR)}"],
            "files": [],
            "volumes": [{"source": "git", "dest": "/srv/git", "readonly": "true"}],
            "setup": {"root": ["mkdir /out"]},
            "repos": [],
            "verify-fs": {"required_files": []},
            "tests": ["tests/check.sh"],
        }

    def expect(self, kind: str, data: str | bytes) -> int:
        """What the container is to compare with. Returns its number."""
        self.count += 1
        file = self.folder / "expect" / kind / str(self.count)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        return self.count

    def arrives_at(self, path: str, content: str) -> None:
        """A file that is to be there, and is required to."""
        number = self.expect("content", content)
        file = self.folder / "expect/path" / str(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(posixpath.normpath(path))
        self.config["verify-fs"]["required_files"].append(quoted(path))

    def host_file(self, path: str, content: str, mode: int = 0o644) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)

    def fill(self) -> None:
        for value in BUILT["env value"].values():
            self.config["env"].append(f"V{self.expect('env', value)}={quoted(value)}")
        for value in BUILT["setup script"].values():
            number = self.expect("script", value)
            self.config["setup"]["root"].append(f"printf %s {shlex.quote(value)} >/out/{number}")
        self.fill_files()
        self.fill_repos()
        for name in FILE_NAMES:
            number = self.expect("tree", name)
            file = self.folder / f"tree/{number}" / os.fsdecode(name)
            file.parent.mkdir(parents=True)
            file.write_bytes(name)
            (self.folder / f"tree/{number}.link").symlink_to(file.name)
        self.host_file("tests/check.sh", CHECK, 0o755)
        for value in BUILT["tests"].values():
            number = self.expect("test", f"{LOCAL}/tests/{value}")
            self.host_file(
                f"tests/{value}", f'#!/bin/sh\nprintf %s "$0" | cmp - "$LOCAL_PATH/expect/test/{number}"\n', 0o755
            )
            self.config["tests"].append(f"tests/{quoted(value)}")
        self.host_file(
            "tools/install-tools.sh",
            "#!/bin/sh\nmkdir bin\nprintf 'echo installed' >bin/odd-tool\nchmod +x bin/*\n",
            0o755,
        )
        everything = "".join(taken("entry.command").values())
        number = self.expect("command", everything)
        same = f'printf %s {shlex.quote(everything)} | cmp - "$LOCAL_PATH/expect/command/{number}"'
        self.config["entry"] = {
            "ready": {"command": quoted(f"{same} && echo same >/tmp/ready"), "timeout": "1m"},
            "command": quoted(f"{same} && cat /tmp/ready"),
        }

    def fill_files(self) -> None:
        for value in BUILT["files.dest"].values():
            dest = f"/odd/{self.count}/{value.lstrip('/').replace('..', 'up')}"
            source = str(self.count)
            self.host_file(f"sources/{source}", value)
            self.config["files"].append({"source": f"sources/{source}", "dest": quoted(dest)})
            self.arrives_at(f"{dest}/{source}" if is_folder(dest) else dest, value)
        for value in BUILT["files.source"].values():
            self.host_file(f"named/{value}", value)
            self.config["files"].append({"source": f"named/{quoted(value)}", "dest": f"/named/{self.count}"})
            self.arrives_at(f"/named/{self.count}", value)
        for value in BUILT["volumes.source"].values():
            dest = f"/volumes/{self.count}/{value}"
            self.host_file(f"mounted/{value}", value)
            self.config["volumes"].append({"source": f"mounted/{quoted(value)}", "dest": quoted(dest)})
            self.arrives_at(dest, value)

    def fill_repos(self) -> None:
        for kind, value in BUILT["repos.url"].items():
            branch = value if kind in taken("repos.branch") else "main"
            make_repository(self.project.root / "git" / value, branch)
            number = self.expect("branch", branch)
            path = f"/repos/{number}/{value}"
            repo = {"url": f"/srv/git/{quoted(value)}", "path": quoted(path), "branch": quoted(branch)}
            self.config["repos"].append({**repo, "owner": "odd.one_1-x:root"})
            self.host_file(f"expect/repo/{number}", path)

    def write(self) -> None:
        text = yaml.safe_dump(self.config, default_style='"', width=10**9, sort_keys=False)
        self.project.write(f"habitats/{self.name}/config.yaml").write_text(text)


def make_repository(folder: Path, branch: str) -> None:
    """One with a file `note` that says the name of its only branch."""
    folder.mkdir(parents=True)
    (folder / "note").write_text(branch)
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    head = ("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    for words in (("init", "-q"), head, ("add", "note"), (*identity, "commit", "-q", "-m", "first")):
        subprocess.run(("git", *words), cwd=folder, check=True)


@pytest.fixture(scope="module")
def hostile_habitat(
    engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostileHabitat]:
    habitat = HostileHabitat(Project(tmp_path_factory.mktemp("taken")), fresh_name(), git_image)
    habitat.fill()
    habitat.write()
    yield habitat
    clear(engine, habitat.name)


@pytest.fixture(scope="module")
def build_result(hostile_habitat: HostileHabitat) -> CommandResult:
    """The run that built it."""
    return hostile_habitat.project.doit(f"final:{hostile_habitat.name}")


@pytest.mark.guarantee("config-values-are-literal")
@pytest.mark.engine
def test_accepted_values_arrive_byte_for_byte(hostile_habitat: HostileHabitat, build_result: CommandResult) -> None:
    assert build_result.code == 0, build_result.out
    assert build_result.ran[-1] == "final"
    assert inspect(f"habitat-{hostile_habitat.name}:final")["Config"]["WorkingDir"] == WORKDIR
    assert not list(hostile_habitat.project.root.rglob("pwned"))
    for place in (*BUILT, "WORKDIR"):
        for _ in BUILT.get(place) or taken(place):
            note(f"{place} (container)", "literal")
    for _ in FILE_NAMES:
        note("file names (container)", "literal")
        note("link targets (container)", "literal")


@pytest.mark.engine
def test_habitat_with_odd_values_is_cached_and_starts(
    hostile_habitat: HostileHabitat, build_result: CommandResult
) -> None:
    assert build_result.code == 0, build_result.out
    assert hostile_habitat.project.doit(f"final:{hostile_habitat.name}").ran == []
    started = hostile_habitat.project.doit(f"start:{hostile_habitat.name}")
    assert started.code == 0, started.out
    assert started.out.splitlines()[-1] == "same"
    for _ in taken("entry.command"):
        note("entry.command (container)", "literal")
        note("entry.ready.command (container)", "literal")


@pytest.mark.engine
def test_user_name_with_dot_is_not_used_as_pattern(project: Project, busybox: str, name: str) -> None:
    """a.b is not axb, whose home is another's, and the group a.b is not axb either."""
    lines = "echo axb:x:77:77::/wrong:/bin/sh >>/etc/passwd; echo axb:x:77: >>/etc/group"
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN {lines}\n")
    script = '#!/bin/sh\n[ ! -e /wrong ] && [ "$(id -un)" = a.b ] && [ ~ = /home/a.b ] && [ "$(id -g)" != 77 ]\n'
    project.write(f"habitats/{name}/who", script, 0o755)
    project.habitat(name, "env: [USER=a.b]\ntests: [who]\n")
    result = project.doit(f"test:{name}")
    assert result.code == 0, result.out


@pytest.mark.engine
def test_thousands_of_files_are_copied_in_seconds(project: Project, busybox: str, name: str) -> None:
    for number in range(2_000):
        file = project.root / f"habitats/{name}/data/{number % 100}/{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}")
    check = "#!/bin/sh -e\ncd $LOCAL_PATH/data\n[ $(find . -type f | wc -l) = 2000 ]\n[ $(cat 99/1999) = 1999 ]\n"
    project.write(f"habitats/{name}/tests/check", check, 0o755)
    project.habitat(name, f"base_image: {busybox}\ntests: [tests/check]\n")
    started = time.monotonic()
    result = project.doit(f"test:{name}")
    assert result.code == 0, result.out
    assert time.monotonic() - started < 60


@pytest.mark.engine
def test_longest_accepted_texts_build_and_start(project: Project, busybox: str, name: str) -> None:
    big = "BIG=".ljust(131_071, "x")
    script = "[ ${#BIG} = 131067 ] && echo made >/made #".ljust(131_071, "x")
    command = "[ ${#BIG} = 131067 ] && cat /made #".ljust(64_900, "x")
    config = {
        "base_image": busybox,
        "env": [big],
        "setup": {"root": [script]},
        "entry": {"command": quoted(command), "ready": quoted("[ ${#BIG} = 131067 ] #".ljust(131_071, "x"))},
    }
    project.habitat(name, yaml.safe_dump(config, width=10**9))
    started = project.doit(f"start:{name}")
    assert started.code == 0, started.out
    assert started.out.splitlines()[-1] == "made"


@pytest.mark.engine
def test_longest_habitat_name_builds_and_starts(project: Project, engine: DockerEngine, busybox: str) -> None:
    name = fresh_name().ljust(200, "x")
    try:
        project.habitat(name, f"base_image: {busybox}\nentry: {{command: echo started}}\n")
        started = project.doit(f"start:{name}")
        assert (started.code, started.out.splitlines()[-1]) == (0, "started")
    finally:
        clear(engine, name)


DEEP = "/".join(["d" * 100] * 30)


@pytest.mark.engine
def test_copied_links_never_reach_outside_container(project: Project, busybox: str, name: str) -> None:
    """A link that leads out of its folder, by `..` or from the root, is copied; what a later copy would write through
    it is refused, and reaches nothing.
    """
    outside = project.root / "outside"
    outside.mkdir()
    local = project.root / "habitats" / name
    project.write(f"habitats/{name}/{DEEP}/file", "deep")
    (local / "absolute").symlink_to(outside)
    (local / "upwards").symlink_to("../" * 30 + str(outside)[1:])
    (local / "dangling").symlink_to("nowhere")
    (local / "loop").symlink_to("loop")
    links = ("absolute", "upwards", "dangling", "loop")
    files = "".join(f"  - {{source: note, dest: $LOCAL_PATH/{link}/written}}\n" for link in ("absolute", "upwards"))
    check = f'[ -f "$LOCAL_PATH/{DEEP}/file" ]\n'
    check += "".join(f'[ "$(readlink "$LOCAL_PATH/{link}")" = "{(local / link).readlink()}" ]\n' for link in links)
    project.write(f"habitats/{name}/note", "mine")
    project.write(f"habitats/{name}/check", f"#!/bin/sh -ex\n{check}", 0o755)
    setup = f"setup: {{root: ['mkdir -p {outside}']}}\n"
    first = f"base_image: {busybox}\nfiles:\n  - {{source: note, dest: {outside}/made}}\n"
    project.habitat(name, f"{first}{setup}tests: [check]\n")
    result = project.doit(f"test:{name}")
    assert result.code == 0, result.out
    project.habitat(name, f"{first}{files}{setup}tests: [check]\n")
    result = project.doit(f"test:{name}")
    assert result.code == 2, result.out
    assert "that USER may have made" in result
    assert list(outside.iterdir()) == []


# The command line


@pytest.fixture(scope="module")
def odd_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Folders of every name below habitats/, and one habitat that is sound but for its description."""
    project = Project(tmp_path_factory.mktemp("odd"))
    for name in (*map(os.fsencode, KINDS.values()), b"\xff\xfe", b"a%3Db", b"start:x"):
        if name not in (b"", b".", b"..") and len(name) < 255 and b"/" not in name and b"\0" not in name:
            (project.root / "habitats" / os.fsdecode(name)).mkdir(exist_ok=True)
    project.habitat("sound", yaml.safe_dump({"base_image": "debian", "description": "".join(KINDS.values())[:300]}))
    project.habitat("sound2", 'base_image: debian\ndescription: "\\e[2J\\e]0;owned\\a\\u202ex\\x9b2J"\n')
    return project


def test_list_of_odd_habitats_contains_no_terminal_control(odd_project: Project) -> None:
    for args in (("list",), ("list", "--all"), ("list", "--all", "--status")):
        result = odd_project.doit(*args, env=NOWHERE)
        assert result.code == 0, result.out
        lines = result.out.split("\n")
        assert [line for line in lines if line != printable(line)] == []
        assert "Traceback" not in result.out
    assert any("sound2" in line and r"\x1b[2J\x1b]0;owned\x07\u202ex\x9b2J" in line for line in lines)


def test_run_of_odd_habitats_contains_no_terminal_control(odd_project: Project) -> None:
    result = odd_project.doit("build", env=NOWHERE)
    assert result.code != 0
    assert [line for line in result.out.split("\n") if line != printable(line)] == []
    assert "Traceback" not in result.out
    assert result.out.count("can't name a habitat") >= 30


ODD_TASKS = {
    "upwards": "start:../x",
    "absolute": "start:/etc",
    "no phase": "x:sound",
    "no habitat": "start:",
    "a colon": ":",
    "spaces": "   ",
    "an escape": "start:\x1b[2J\x1b]0;owned\x07",
    "right to left": "final:\u202edunos",
    "a newline": "final:sound\nx",
    "10 kB": "final:" + "x" * 10_000,
    "100 kB": "x" * 100_000,
    "a substitution": "final:$(touch pwned) ",
    "a phase too much": "final:sound:sound",
}


COMMANDS = ["list", "info", "forget", "clean"]


@pytest.mark.parametrize(
    ("command", "case"),
    [
        *(("run", what) for what in ODD_TASKS),
        *((command, what) for command in COMMANDS for what in ("spaces", "an escape")),
    ],
)
def test_odd_task_name_is_refused_in_one_line(odd_project: Project, command: str, case: str) -> None:
    result = odd_project.doit(command, ODD_TASKS[case], env=NOWHERE)
    assert result.code != 0
    (line,) = result.out.splitlines()
    assert line == printable(line)
    assert re.match(r"ERROR: (there is no task '.*'|start needs a habitat, .*): .+", line), line
    assert len(line) < 300
    note("task names (doit)", "refused")


@pytest.mark.parametrize("case", NO_TEXT)
def test_config_that_is_no_regular_file_is_error(project: Project, case: str) -> None:
    (project.root / "habitats/demo").mkdir()
    NO_TEXT[case](project.root / "habitats/demo/config.yaml")
    result = project.doit("final:demo", env=NOWHERE, timeout=20)
    assert result.code != 0
    (line,) = result.out.splitlines()
    assert re.fullmatch(r"❌ habitats/demo/config\.yaml: .+: .+", line)
    note("config.yaml (doit)", "refused")


@pytest.mark.engine
def test_hostile_build_creates_only_expected_tags(hostile_habitat: HostileHabitat) -> None:
    assert {tag for tag in snapshots(hostile_habitat.name) if not re.fullmatch(r"final|\d+-[a-z]+", tag)} == set()
