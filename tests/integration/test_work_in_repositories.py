"""The repositories of a habitat on a real engine: what is named of them, and what an agent plants there."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import docker

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.engine

# A day of an agent: work, and programs that git would run outside of it.
DAY = r"""
git -C library log --oneline >/tmp/history
if echo x >>library/README.md || rm library/README.md; then exit 7; fi 2>/dev/null
cd project
git config user.name agent; git config user.email agent@example.org
echo two >README.md; git commit -qam two
echo three >README.md; git stash -q
echo four >README.md
touch "$(printf 'new\033[2J\nname')"
printf '#!/bin/sh\ntouch /tmp/planted-$$\ncat\n' >/tmp/program
chmod +x /tmp/program
cp /tmp/program .git/hooks/post-index-change
git config core.fsmonitor /tmp/program
git config filter.evil.clean /tmp/program
echo '* filter=evil' >.git/info/attributes
rm -f /tmp/planted-*
cd ..; mkdir broken; echo >broken/.git
"""
WORK = "1 unpushed commit, 1 stash, 2 changed files in project (main)"


@pytest.mark.guarantee("replacement-names-work")
@pytest.mark.guarantee("untrusted-repository-runs-nothing")
@pytest.mark.guarantee("read-only-clone-belongs-to-root")
@pytest.mark.guarantee("destroy-names-work-first")
def test_work_is_named_before_it_is_out_of_sight_and_no_planted_program_runs(
    project: Project, git_image: str, name: str
) -> None:
    source = project.root / "source"
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    subprocess.run(["git", "init", "-q", "-b", "main", source], check=True)
    (source / "README.md").write_text("one\n")
    for command in (("add", "README.md"), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", "-C", source, *command], check=True)
    repos = f"[{{url: {source}, path: project}}, {{url: 'file://{source}', path: library, writable: false}}]"
    config = f"base_image: {git_image}\nworkspace: image\nrepos: {repos}\n"
    project.habitat(name, config)
    day = project.doit(f"start:{name}", "--cmd", DAY)
    assert day.code == 0, day.out

    project.habitat(name, f"{config}env: [NEW=value]\n")
    plan = project.doit(f"plan:{name}")
    assert f"the new one will lack {WORK}" in plan
    assert "what is in broken (" in plan
    assert "\x1b[2J" not in plan.out

    look = "ls /tmp/planted-* 2>/dev/null; ls /tmp/history"
    container = docker("container", "ls", "--all", "--quiet", "--filter", f"name=habitat-{name}$")
    docker("container", "start", container)
    assert WORK in project.doit(f"plan:{name}")  # in the container itself
    assert docker("container", "exec", container, "sh", "-c", look).split() == ["/tmp/history"]
    docker("container", "stop", "--time", "0", container)

    removed = project.doit(f"destroy:{name}", "--yes", "--workspace")
    assert f"habitat-{name} (stopped): " in removed
    assert WORK in removed
    assert docker("container", "ls", "--all", "--quiet", "--filter", f"name=_{name}_") == ""
    untagged = docker("image", "ls", "--quiet", "--filter", "dangling=true", "--filter", f"label=habitat.name={name}")
    assert untagged == ""
