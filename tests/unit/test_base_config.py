"""What the config of a base image brings beside its environment: VOLUME, ONBUILD, STOPSIGNAL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_engine import base_files
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, write

from phases.core.errors import HabitatError
from phases.core.runtime import start as runtime_start

if TYPE_CHECKING:
    from pathlib import Path


def project(root: Path, text: str = "", **config: object) -> DemoProject:
    """A habitat on an image with that config."""
    demo = DemoProject(root, f"base_image: odd:1\n{text}")
    demo.engine.add_image("odd:1", **config)  # type: ignore[arg-type]
    return demo


@pytest.mark.guarantee("nothing-built-into-image-volume")
@pytest.mark.parametrize(
    ("volume", "text", "message"),
    [
        ("/workspace", "", "WORKDIR: /workspace is in /workspace, a VOLUME of odd:1: no image keeps"),
        ("/workspace/", "", "WORKDIR: /workspace is in /workspace, a VOLUME of odd:1: no image keeps"),
        ("/srv", "env: [WORKDIR=/srv/a/b]\n", "habitats/demo/config.yaml:2: WORKDIR: /srv/a/b is in /srv, a VOLUME"),
        ("/home/agent", "", "the home of USER, /home/agent, is in /home/agent, a VOLUME of odd:1: no image keeps"),
        (
            "/home",
            "env: [USER=dev]\n",
            "habitats/demo/config.yaml:2: the home of USER, /home/dev, is in /home, a VOLUME",
        ),
        ("/root", "env: [USER=root]\n", "habitats/demo/config.yaml:2: the home of USER, /root, is in /root, a VOLUME"),
        (
            "/data",
            "files: [{source: f, dest: /data/f}]\n",
            "habitats/demo/config.yaml:2: files: f is in /data, a VOLUME",
        ),
        ("/habitat", "", "HABITAT_PATH: /habitat is in /habitat, a VOLUME of odd:1"),
        (
            "/workspace/p",
            "repos: [{url: 'https://example.org/a', path: p}]\n",
            "config.yaml:2: repos: /workspace/p is in /workspace/p, a VOLUME",
        ),
    ],
)
def test_place_of_build_in_volume_of_base_is_refused(tmp_path: Path, volume: str, text: str, message: str) -> None:
    write(tmp_path, "f", "x")
    demo = project(tmp_path, text, volumes=(volume,))
    with pytest.raises(HabitatError) as excinfo:
        demo.build()
    assert message in str(excinfo.value)
    assert "odd:1" in demo.engine.tags()
    assert not any("final" in tag for tag in demo.engine.tags())


@pytest.mark.guarantee("nothing-built-into-image-volume")
def test_home_of_user_of_image_in_volume_is_refused(tmp_path: Path) -> None:
    files = base_files()
    files.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\njenkins:x:1000:1000::/var/jenkins:/bin/sh\n")
    demo = project(tmp_path, "env: [USER=jenkins]\n", volumes=("/var/jenkins",), files=files)
    demo.engine.on_execute = lambda _: (0, "")
    with pytest.raises(HabitatError, match=r"config.yaml:2: the home of USER, /var/jenkins, is in /var/jenkins, a VOL"):
        demo.build()


@pytest.mark.guarantee("nothing-built-into-image-volume")
def test_file_that_link_leads_into_volume_of_base_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "f", "x")
    files = base_files()
    files.add("/short", Node("link", 0o777, target="/data"))
    demo = project(tmp_path, "files: [{source: f, dest: /short/f}]\n", volumes=("/data",), files=files)
    with pytest.raises(HabitatError, match="/data/f is in the VOLUME of odd:1 /data: a build writes nothing into a"):
        demo.build()


def test_volume_of_base_beside_places_of_build_is_allowed(tmp_path: Path) -> None:
    demo = project(tmp_path, "entry: {command: 'true'}\n", volumes=("/var/lib/data", "/home/agents", "/work"))
    assert demo.build()[-1] == "final"


def test_workdir_in_volume_of_base_is_allowed_below_volume_of_config(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    text = "volumes: [{source: checkout, dest: /workspace}]\n"
    assert project(tmp_path, text, volumes=("/workspace",)).build()[-1] == "final"


def test_base_with_onbuild_is_reported_with_line(tmp_path: Path) -> None:
    demo = project(tmp_path, on_build=("COPY . /app", "RUN make"))
    demo.build()
    assert demo.notices()[0] == (
        "habitats/demo/config.yaml:1: odd:1 has ONBUILD COPY . /app, which no habitat runs: "
        "put it into setup:, or begin a Dockerfile with this image and name it by dockerfile:"
    )


@pytest.mark.parametrize(("entry", "signal"), [("", "SIGTERM"), (", init_command: sleep inf", "")])
def test_container_stops_by_signal_of_its_main_process(tmp_path: Path, entry: str, signal: str) -> None:
    """An init command of the config gets the image's own."""
    demo = project(tmp_path, f"entry: {{command: 'true'{entry}}}\n")
    demo.build()
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert demo.engine._container("habitat-demo").stop_signal == signal
