"""`uid:` on the real engine: USER has the person's numbers, whatever the image has at them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import DEBIAN, ROOT, Project, clear, fresh_name

from phases.p02_users import SET_UID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

ACCOUNTS = """
printf '%s\\n' root:x:0:0:root:/root:/bin/sh bin:x:2:2::/bin:/bin/sh node:x:1000:1000:Node:/home/node:/bin/sh \
    nodes:x:1001:1001::/home/nodes:/bin/sh >/etc/passwd
printf 'dev:x:1002:50:a:/home/dev:/bin/sh' >>/etc/passwd
printf '%s\\n' root:x:0: bin:x:2: staff:x:50:dev node:x:1000: nodes:x:1001: >/etc/group
printf 'games:x:60:node' >>/etc/group
for user in node nodes dev; do
    mkdir -p /home/$user/in
    ln -s /etc/passwd /home/$user/link
    touch /home/$user/in/file /home/$user/roots
    chown -Rh $user /home/$user
    chgrp -Rh "$(grep "^$user:" /etc/passwd | cut -d: -f4)" /home/$user
    chown 0:0 /home/$user/roots
done
"""
SHOW = """
grep -v -e ^root: -e ^bin: /etc/passwd
grep -v -e ^root: -e ^bin: /etc/group
for file in /etc/passwd /home/*/in/file /home/*/link /home/*/roots; do stat -c '%n %u:%g' "$file"; done
"""


class AccountsContainer:
    """A container in which accounts are made anew for each test."""

    def __init__(self, engine: DockerEngine, image: str) -> None:
        self.engine = engine
        self.id = engine.create(image, fresh_name(), ("/bin/sh", "-c", "sleep 600"))
        engine.start(self.id)
        self.before: list[str] = []

    def run(self, script: str, *args: str) -> tuple[int, list[str]]:
        output: list[bytes] = []
        argv = ("/bin/sh", "-e", "-c", "--", script, "sh", *args)
        code = self.engine.exec(self.id, argv, on_output=lambda data, _: output.append(data))
        return code, b"".join(output).decode().splitlines()

    def furnish(self) -> None:
        assert self.run(f"rm -rf /home\n{ACCOUNTS}") == (0, [])
        self.before = self.run(SHOW)[1]

    def number(self, user: str, uid: int, gid: int) -> tuple[int, list[str]]:
        return self.run(SET_UID.text, user, str(uid), str(gid))

    def changed(self) -> list[str]:
        """The rows that are otherwise than they were."""
        return [row for row in self.run(SHOW)[1] if row not in self.before]


@pytest.fixture(scope="module", params=["busybox", DEBIAN])
def built_container(request: pytest.FixtureRequest, engine: DockerEngine) -> Iterator[AccountsContainer]:
    image = request.getfixturevalue("busybox") if request.param == "busybox" else request.param
    container = AccountsContainer(engine, image)
    yield container
    engine.remove(container.id)


@pytest.fixture
def container(built_container: AccountsContainer) -> AccountsContainer:
    built_container.furnish()
    return built_container


def test_user_uid_change_moves_its_home(container: AccountsContainer) -> None:
    assert container.number("dev", 1500, 1501) == (0, [])
    assert container.changed() == [
        "dev:x:1500:1501:a:/home/dev:/bin/sh",
        "dev:x:1501:",
        "/home/dev/in/file 1500:1501",
        "/home/dev/link 1500:1501",
    ]


def test_user_uid_change_moves_its_own_group(container: AccountsContainer) -> None:
    assert container.number("node", 1500, 1500) == (0, [])
    assert container.changed() == [
        "node:x:1500:1500:Node:/home/node:/bin/sh",
        "node:x:1500:",
        "/home/node/in/file 1500:1500",
        "/home/node/link 1500:1500",
    ]


@pytest.mark.guarantee("host-uid-owns-volume-files")
def test_user_uid_taken_by_other_user_moves_that_user_to_free_uid(container: AccountsContainer) -> None:
    assert container.number("dev", 1000, 1000) == (0, ["node, which had the number 1000, gets 1003"])
    assert container.changed() == [
        "node:x:1003:1000:Node:/home/node:/bin/sh",
        "dev:x:1000:1000:a:/home/dev:/bin/sh",
        "/home/dev/in/file 1000:1000",
        "/home/node/in/file 1003:1000",
        "/home/dev/link 1000:1000",
        "/home/node/link 1003:1000",
    ]


def test_user_uid_change_gives_each_file_the_numbers_it_needs_and_announces_many(container: AccountsContainer) -> None:
    prepare = (
        "cd /home/dev/in; touch $(seq 5000) theirs ours; chown dev:50 [0-9]*; chown dev:60 theirs; chown 0:50 ours"
    )
    show = "cd /home/dev/in; stat -c '%u:%g' [0-9]* | sort | uniq -c | tr -s ' '; stat -c '%n %u:%g' theirs ours"
    assert container.run(prepare) == (0, [])
    code, (announcement,) = container.number("dev", 1500, 1501)
    assert code == 0
    assert re.match(r"500[0-9] files in /home/dev \([0-9]+ MB\) get another owner: ", announcement)
    assert container.run(show)[1] == [" 5000 1500:1501", "theirs 1500:60", "ours 0:1501"]
    assert container.number("dev", 1500, 1502)[0] == 0
    assert container.run(show)[1] == [" 5000 1500:1502", "theirs 1500:60", "ours 0:1502"]
    assert container.number("dev", 1600, 1502)[0] == 0
    assert container.run(show)[1] == [" 5000 1600:1502", "theirs 1600:60", "ours 0:1502"]


def test_user_uid_already_set_changes_nothing(container: AccountsContainer) -> None:
    assert container.number("node", 1000, 1000) == (0, [])
    assert container.changed() == []


@pytest.mark.guarantee("host-uid-owns-volume-files")
def test_user_uid_of_system_account_is_refused(container: AccountsContainer) -> None:
    assert container.number("dev", 2, 2) == (3, ["2 is the number of bin in the image"])
    assert container.changed() == []


def test_user_uid_change_repeated_changes_nothing(container: AccountsContainer) -> None:
    container.number("dev", 1000, 1700)
    once = container.run(SHOW)
    assert container.number("dev", 1000, 1700) == (0, [])
    assert container.run(SHOW) == once


# A person, with a folder of his own


@pytest.fixture
def person_project(tmp_path: Path) -> Project:
    """A project of somebody who isn't root, and may use the engine."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    return Project(tmp_path)


UID = 4711


def as_person(project: Project, *args: str) -> subprocess.CompletedProcess[str]:
    """`doit ARGS`, run by the person."""
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(project.root)], check=True)
    group = Path("/var/run/docker.sock").stat().st_gid
    who = ["setpriv", f"--reuid={UID}", f"--regid={UID}", f"--groups={group}"]
    env = os.environ | {"HOME": str(project.root), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [*who, sys.executable, "-m", "doit", *args],
        cwd=project.root,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.guarantee("host-uid-owns-volume-files")
def test_volume_files_belong_to_person_on_both_sides(
    person_project: Project, engine: DockerEngine, busybox: str
) -> None:
    name = fresh_name()
    person_project.write("data/mine", "of the host\n", 0o600)
    command = "cat /data/mine && id -u && echo of the habitat >/data/theirs && echo more >>/data/mine"
    person_project.habitat(
        name,
        f"base_image: {busybox}\nuid: host\nvolumes: [{{source: ./data, dest: /data}}]\n"
        f"entry: {{command: '{command}'}}\n",
    )
    try:
        result = as_person(person_project, f"start:{name}")
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.splitlines()[-2:] == ["of the host", str(UID)]
        actual = person_project.root / "data" / "theirs"
        assert (actual.read_text(), actual.stat().st_uid, actual.stat().st_gid) == ("of the habitat\n", UID, UID)
        assert (person_project.root / "data/mine").read_text() == "of the host\nmore\n"
        assert as_person(person_project, f"final:{name}").returncode == 0
        slice_ = (person_project.root / f".stamps/{name}/2-users.json").read_text()
        assert slice_ == f'{{"gid":{UID},"uid":{UID},"user":"agent"}}'
    finally:
        clear(engine, name)
