"""`logs` of a habitat, on the fake engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject

from phases.core import events
from phases.core.errors import HabitatError, StartError, StateError
from phases.core.runtime import logs
from phases.core.runtime import start as runtime_start
from phases.registry import named
from phases.ui.verbs import logs as verb

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
base_image: base:1
setup: {root: ['echo from setup; echo more >&2']}
repos: []
entry: {init_command: 'echo from init; sleep 600', command: 'echo hello'}
"""


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    demo = DemoProject(tmp_path, CONFIG)
    demo.build()
    return demo


def shown(demo: DemoProject, **options: object) -> list[str]:
    verb.run(demo.run_anew(), "demo", **options)  # type: ignore[arg-type]
    return demo.lines()


def test_logs_show_phases_with_output_then_container(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    demo.project.log_path("demo", named("tools")).write_text("from tools\n")
    output = shown(demo)
    assert output[output.index("── setup (.stamps/demo/7-setup.log)") :] == [
        "── setup (.stamps/demo/7-setup.log)",
        "$ setup command 1 of 1 (as root)",
        "from setup",
        "more",
        "── tools (.stamps/demo/9-tools.log)",
        "from tools",
        "── habitat-demo (running)",
        "from init",
    ]


def test_logs_of_million_lines_are_shown_in_blocks(demo: DemoProject) -> None:
    """One event and one write for each line took a minute for a log of 9 MB."""
    printed = ["y" * (number % 9) for number in range(1_000_000)]
    demo.project.log_path("demo", named("setup")).write_text("".join(f"{line}\n" for line in printed))
    assert shown(demo, phase="setup")[1:] == printed
    assert len([event for event in demo.seen if isinstance(event, events.LineBlock)]) < 200


def test_logs_of_one_phase_show_only_that_phase(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    heading, _, *printed = shown(demo, phase="setup")
    assert (heading, printed) == ("── setup (.stamps/demo/7-setup.log)", ["from setup", "more"])
    assert shown(demo, phase="base") == ["── base (.stamps/demo/1-base.log): empty"]


def test_logs_follow_shows_container_output_only(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert shown(demo, follow=True) == ["── habitat-demo (running)", "from init"]
    assert demo.engine.called("output")[-1][2] == "True"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "stup"}, "demo: there is no phase 'stup': did you mean 'setup'?"),
        ({"phase": "dockerfile"}, "demo: there is no phase 'dockerfile': known here: base, users, env, workdir, "),
        ({"follow": True}, "demo: there is no container habitat-demo: `doit start:demo` creates it"),
        (
            {"follow": True, "phase": "setup"},
            "demo: --follow shows the output of the container, --phase that of the build",
        ),
    ],
)
def test_logs_unknown_phase_or_missing_container_is_error(
    demo: DemoProject, options: dict[str, object], message: str
) -> None:
    with pytest.raises(StartError) as excinfo:
        shown(demo, **options)
    assert str(excinfo.value).startswith(message)


def test_logs_of_habitat_never_built_give_notice(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    assert shown(demo) == []
    assert demo.notices() == ["demo has no logs yet: `doit start:demo` builds and starts it"]
    with pytest.raises(StartError) as excinfo:
        shown(demo, phase="setup")
    assert str(excinfo.value) == ("demo: there is no log of setup: it was not built here; `doit setup:demo` builds it")


def test_logs_of_habitat_with_broken_config_are_shown(demo: DemoProject) -> None:
    (demo.root / "habitats/demo/config.yaml").write_text("setup: [")
    assert "from setup" in shown(demo)
    with pytest.raises(HabitatError):
        demo.project.habitat("demo")


def test_logs_unreadable_log_file_is_error(demo: DemoProject) -> None:
    path = demo.root / ".stamps/demo/7-setup.log"
    path.unlink()
    path.mkdir()
    with pytest.raises(StateError, match=r"^\.stamps/demo/7-setup.log: can't be read"):
        logs.show_phase(demo.run_anew(), "demo", "setup")


def test_logs_mask_secret_printed_by_main_process(tmp_path: Path) -> None:
    secrets = "secrets: [{name: T, command: echo s3cret-word, start: true}]\n"
    demo = DemoProject(tmp_path, CONFIG.replace("from init", "has s3cret-word") + secrets)
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert "has ***" in shown(demo, follow=True)
    assert "has ***" in shown(demo)
