"""The cache's specification: for each change, the first phase that runs again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.engine


def test_nothing_runs_twice(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}")
    first = project.doit(f"final:{name}")
    assert first.code == 0, first.out
    assert first.ran[0] == "base"
    assert project.doit(f"final:{name}").ran == []
