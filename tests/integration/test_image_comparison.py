"""The comparison of images, which others' proofs rest on: it sees what differs, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from conftest import PREFIX, import_image
from image_comparison import differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CONFIG = ("ENV A=1", "USER dev", "WORKDIR /srv", 'CMD ["/bin/x"]')


@pytest.fixture
def compare(engine: DockerEngine, tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
    """Compare an image with one that `change` made another of, in files or in config."""
    tags = [f"{PREFIX}-compared:{os.getpid()}-{side}" for side in "ab"]

    def compare(
        change: Callable[[Path], object] = lambda _: None, config: tuple[str, ...] = CONFIG, **options: object
    ) -> list[str]:
        import_image(_root(tmp_path / "a"), tags[0], *CONFIG)
        root = _root(tmp_path / "b")
        change(root)
        import_image(root, tags[1], *config)
        return differences(*tags, **options)  # type: ignore[arg-type]

    yield compare
    for tag in tags:
        engine.untag(tag)


def _root(root: Path) -> Path:
    for folder in ("etc", "srv", "var/log", "app/.git"):
        (root / folder).mkdir(parents=True)
    for path, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000::/home/dev:/bin/sh\n",
        "etc/group": "dev:x:1000:\n",
        "etc/shadow": "dev:!:19000:0:99999:7:::\n",
        "srv/x": "x",
        "var/log/dpkg.log": "today",
        "app/.git/index": "inodes",
    }.items():
        (root / path).write_text(text)
    (root / "srv" / "x").chmod(0o755)
    (root / "srv" / "link").symlink_to("x")
    (root / "srv" / "again").hardlink_to(root / "srv" / "x")
    return root


def test_comparison_of_equal_images_is_empty(compare: Callable[..., list[str]]) -> None:
    def only_dates(root: Path) -> None:
        os.utime(root / "srv" / "x", (1, 1))
        (root / "etc" / "shadow").write_text("dev:!:20000:0:99999:7:::\n")
        (root / "var" / "log" / "dpkg.log").write_text("tomorrow")
        (root / "app" / ".git" / "index").write_text("others")

    assert compare(only_dates) == []


@pytest.mark.guarantee("ejected-image-is-equal")
def test_comparison_reports_each_filesystem_difference(compare: Callable[..., list[str]]) -> None:
    def change(root: Path) -> None:
        (root / "srv" / "again").unlink()
        (root / "srv" / "x").chmod(0o644)
        os.chown(root / "srv" / "x", 5, 6)
        (root / "srv" / "link").unlink()
        (root / "srv" / "link").symlink_to("elsewhere")
        (root / "app" / ".git" / "index").chmod(0o600)
        (root / "srv" / "new").mkdir()
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000::/srv:/bin/zsh\n")

    assert compare(change) == [
        "user dev: 'x:1000:1000::/home/dev:/bin/sh' ≠ 'x:1000:1000::/srv:/bin/zsh'",
        "/app/.git/index: mode 0644 ≠ 0600",
        "/srv/again: only in the first",
        "/srv/link: target x ≠ elsewhere",
        "/srv/new: only in the second",
        "/srv/x: mode 0755 ≠ 0644",
        "/srv/x: uid 0 ≠ 5",
        "/srv/x: gid 0 ≠ 6",
    ]


def test_comparison_reports_content_and_omits_ignored_paths(compare: Callable[..., list[str]]) -> None:
    def change(root: Path) -> None:
        (root / "srv" / "x").write_text("y")

    (mine, again) = sorted(compare(change, ignoring=["/etc/*"]))
    assert mine.startswith("/srv/again: digest 2d71")
    assert again.startswith("/srv/x: digest 2d71")


def test_comparison_omits_paths_matching_ignored_pattern(compare: Callable[..., list[str]]) -> None:
    assert compare(lambda root: (root / "srv" / "new").mkdir(), ignoring=["/srv/n*"]) == []


@pytest.mark.guarantee("ejected-image-is-equal")
def test_comparison_reports_each_config_difference(compare: Callable[..., list[str]]) -> None:
    config = ("ENV A=2", "USER root", "WORKDIR /", 'ENTRYPOINT ["/bin/y"]', "LABEL a=b", "EXPOSE 80")
    assert compare(config=config) == [
        "env A: '1' ≠ '2'",
        "User: dev ≠ root",
        "WorkingDir: /srv ≠ /",
        "Entrypoint: None ≠ ['/bin/y']",
        "Cmd: ['/bin/x'] ≠ None",
    ]


def test_comparison_reports_labels_and_ports_on_request(compare: Callable[..., list[str]]) -> None:
    differing = compare(config=(*CONFIG, "LABEL a=b", "EXPOSE 80"), labels=True, ports=True)
    assert differing == ["Labels: None ≠ {'a': 'b'}", "ExposedPorts: None ≠ {'80/tcp': {}}"]
