"""What an init printed is shown without secrets or not at all, whatever has changed: secret, clone or state."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from conftest import Project, docker, same_project

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

# Root's, and so it can read what USER is given as soon as that is there.
INIT = "until [ -s /run/secrets/T ]; do sleep 0.1; done; echo it has $$(cat /run/secrets/T); sleep 600"


@pytest.mark.guarantee("container-output-needs-all-secrets")
def test_logs_of_init_that_printed_secret_never_show_secret(
    project: Project, name: str, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.habitat(
        name,
        f"base_image: {busybox}\nsecrets: [{{name: T, env: TOKEN, start: true, optional: true}}]\n"
        f"entry:\n  init_command: '{INIT}'\n  ready: {{command: sleep 1}}\n  command: 'true'\n",
    )
    old, new = {"TOKEN": "it's-the-0ld-one"}, {"TOKEN": "the-new-one"}
    assert project.doit(f"start:{name}", "--detach", env=old).code == 0
    assert "it has it's-the-0ld-one" in docker("logs", f"habitat-{name}")
    assert "it has ***" in project.doit(f"logs:{name}", env=old)

    other = Project(_clone(project, tmp_path_factory.mktemp("other")))
    for where, env in ((project, new), (project, {}), (other, old), (other, new)):
        shown = where.doit(f"logs:{name}", env=env)
        assert shown.code == 0
        assert "0ld-one" not in shown
        assert f"docker logs habitat-{name} shows it, secrets unmasked" in shown

    assert project.doit(f"exec:{name}", "--", "true", env=new).code == 0
    assert "0ld-one" not in project.doit(f"logs:{name}", env=new)
    assert project.doit(f"stop:{name}", "--force").code == 0
    assert "0ld-one" not in project.doit(f"logs:{name}", env=new)
    shutil.rmtree(project.root / ".stamps" / name)
    assert "0ld-one" not in project.doit(f"logs:{name}", env=old)

    assert project.doit(f"destroy:{name}", "--yes").code == 0
    assert not list((project.root / ".stamps" / name).glob("delivered.*"))


def _clone(project: Project, root: Path) -> Path:
    shutil.copytree(project.root / "habitats", root / "habitats", dirs_exist_ok=True)
    same_project(project.root, root)
    return root
