"""README.md and the pages in docs/ agree with the program and with each other."""

from __future__ import annotations

import re
import runpy
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from phases.core.config import loader, schema
from phases.registry import NAMES, PHASES
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from pathlib import Path

    from phases.ui.verbs.verb import Verb

README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    """Return the text of a page in docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


CONFIG = page("config.md")


def table(text: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading."""
    part = text.split(f"## {heading}\n", 1)[1]
    rows = [line for line in part.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def sample() -> str:
    match = re.search(r"```yaml\n(.*?)```", CONFIG, re.DOTALL)
    assert match
    return match[1]


def test_docs_private_repository_example_loads(tmp_path: Path) -> None:
    recipe, _ = re.findall(r"```yaml\n(.*?)```", page("running.md"), re.DOTALL)
    folder = tmp_path / "habitats" / "example"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"base_image: b\n{recipe}", encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert [repo.token for repo in habitat.repos] == ["GITHUB"]
    assert [secret.name for secret in habitat.secrets_of("repos")] == ["GITHUB", "NPM_TOKEN"]
    assert habitat.setup[-1].script == "echo '//registry.npmjs.org/:_authToken=${NPM_TOKEN}' >~/.npmrc"


def test_docs_shared_config_for_proxy_that_signs_loads(tmp_path: Path) -> None:
    _, shared = re.findall(r"```yaml\n(.*?)```", page("running.md"), re.DOTALL)
    for folder, text in (("shared", shared), ("example", "base_image: b\n")):
        (tmp_path / ".habitats" / folder).mkdir(parents=True)
        (tmp_path / ".habitats" / folder / "config.yaml").write_text(text, encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    (volume,) = habitat.volumes
    assert {habitat.env.values[name] for name in ("PIP_CERT", "NODE_EXTRA_CA_CERTS")} == {volume.dest}


def test_docs_apt_cache_example_loads(tmp_path: Path) -> None:
    (recipe,) = re.findall(r"```yaml\n(.*?)```", page("cache.md"), re.DOTALL)
    folder = tmp_path / "habitats" / "example"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"base_image: b\n{recipe}", encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert [(cache.path, cache.locked) for cache in habitat.caches] == [
        ("/var/cache/apt", True),
        ("/var/lib/apt/lists", True),
    ]


def test_docs_config_reference_loads(tmp_path: Path) -> None:
    folder = tmp_path / "habitats" / "example"
    (folder / "tests").mkdir(parents=True)
    of_shared, of_habitat = (
        "".join(line for line in sample().splitlines(keepends=True) if line.startswith("project:") == is_shared)
        for is_shared in (True, False)
    )
    (folder / "config.yaml").write_text(of_habitat, encoding="utf-8")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/config.yaml").write_text(of_shared, encoding="utf-8")
    for name in ("gitconfig", "tests/builds.sh", "tests/queries.sh", "AGENTS-notes.md", "vimrc"):
        (folder / name).write_text("")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert (habitat.user, habitat.workdir, habitat.timeouts) == ("dev", "/workspace", {"setup": 1800})
    assert habitat.env.values["PRICE"] == "$$5"
    assert [(copy.dest, copy.mode) for copy in habitat.files] == [("~/.gitconfig", "0600"), ("/etc/gitconfig", "")]
    assert [(hook.point.phase, hook.command.user) for hook in habitat.hooks] == [("repos", "root")]
    assert habitat.entry.ready
    assert (habitat.entry.ready.interval, habitat.entry.ready.timeout) == (2, 120)
    assert [port.written for port in habitat.entry.ports] == [
        "3000:3000",
        "8080:3000",
        "0.0.0.0:9000:9000",
        "53:53/udp",
    ]


@pytest.mark.parametrize("key", schema.Config.__struct_encode_fields__)
def test_docs_config_reference_has_every_key(key: str) -> None:
    assert re.search(rf"^{key}:", sample(), re.MULTILINE)


def test_readme_phase_table_equals_registry() -> None:
    assert [row[:2] for row in table(README, "The phases")] == [[str(phase.ID), phase.NAME] for phase in PHASES]


def test_docs_rebuild_table_names_every_phase() -> None:
    named = {row[1].partition(",")[0] for row in table(page("cache.md"), "What runs again")}
    assert named - {"none", "that phase", "none that has a valid snapshot"} == set(NAMES)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.NAME)
def test_docs_command_tables_have_every_command_and_option(verb: Verb) -> None:
    sections = ("Habitats", "Building", "Running", "The network", "Bringing work home", "Coming and leaving")
    every_row = [row for section in sections for row in table(page("commands.md"), section)]
    rows = " ".join(" ".join(row) for row in every_row if f"habitat {verb.EXAMPLE[0]} NAME" in row[0])
    assert rows
    assert [option["long"] for option in verb.OPTIONS if f"--{option['long']}" not in rows] == []


def test_readme_first_config_loads(tmp_path: Path) -> None:
    (small,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    folder = tmp_path / "habitats" / "example"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(small, encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert [repo.path for repo in habitat.repos] == ["/workspace/project"]
    assert [port.written for port in habitat.entry.ports] == ["3000:3000"]


PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))
LINKS = [
    (path, link)
    for path in PAGES
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    if "://" not in link
]


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(("path", "link"), LINKS, ids=lambda value: value if isinstance(value, str) else named(value))
def test_docs_link_leads_to_existing_file_and_heading(path: Path, link: str) -> None:
    file, _, anchor = link.partition("#")
    target = path.parent / file if file else path
    assert target.exists()
    assert not anchor or anchor in anchors(target)


PATHS = [
    (path, name)
    for path in PAGES
    if path.name != "CHANGELOG.md"
    for name in sorted(set(re.findall(r"`((?:phases|tests|script|core|ui|docs)/[\w/.-]+)`", path.read_text("utf-8"))))
    if "NAME" not in name
]


@pytest.mark.parametrize(("path", "name"), PATHS, ids=lambda value: value if isinstance(value, str) else named(value))
def test_docs_path_names_existing_file(path: Path, name: str) -> None:
    """In docs/architecture.md and docs/internals.md, paths begin below phases/."""
    assert (ROOT / name).exists() or (ROOT / "phases" / name).exists()


@pytest.mark.parametrize("path", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=named)
def test_docs_module_names_end_path_of_existing_module(path: Path) -> None:
    """A module may be named without its folder, or with the last folders only, like `config/scope.py`."""
    modules = [f"/{named(file)}" for folder in ("phases", "tests", "bench") for file in (ROOT / folder).rglob("*.py")]
    names = {name for name in re.findall(r"`([\w/]+\.py)`", path.read_text("utf-8")) if "NAME" not in name}
    assert {name for name in names if not any(module.endswith(f"/{name}") for module in modules)} <= {"dodo.py"}


@pytest.mark.parametrize("path", [path for path in PAGES if path.parent != ROOT], ids=named)
def test_docs_index_links_to_every_page(path: Path) -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(source.parent / link.partition("#")[0]).resolve() for source, link in LINKS if source == index}
    assert path == index or path.resolve() in linked


def test_docs_picture_of_packages_equals_import_table() -> None:
    diagram = runpy.run_path(str(ROOT / "script" / "diagram"))
    written = (ROOT / "docs" / "packages.svg").read_text(encoding="utf-8")
    assert written == diagram["svg"](diagram["table"]()), "script/diagram writes it"


def test_docs_architecture_describes_every_package() -> None:
    packages = runpy.run_path(str(ROOT / "script" / "diagram"))["table"]()
    described = page("architecture.md").split("## Packages\n", 1)[1].split("\n## ", 1)[0]
    assert [name for name in packages if not re.search(rf"`(core/)?{name}(\.py|/)?`", described)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.svg")), ids=named)
def test_docs_picture_is_shown_by_a_page(path: Path) -> None:
    assert any((source.parent / link).resolve() == path.resolve() for source, link in LINKS)


def test_readme_has_at_most_950_words() -> None:
    assert len(README.split()) <= 950
