"""A plan as a Dockerfile: what is written for each step, and the folder it is written into."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from unit_helpers import SOMEWHERE, DemoProject, load, write

from phases.core.eject import own_dockerfile, quoting, writer
from phases.core.eject.command import eject
from phases.core.eject.context import file_trees
from phases.core.eject.readme import readme
from phases.core.errors import ConfigError, StateError
from phases.core.migrate.command import migrate
from phases.protocol import Entry

AWKWARD = [
    "plain",
    "",
    "  two  spaces  ",
    'it\'s "quoted"',
    "$HOME ${HOME} $(touch /pwned) `touch /pwned`",
    "a\\b\\\\c\\n\\",
    "trailing \\",
    "# no comment",
    "a\tb\rc",
    "one\n  two\n",
    "naïve ☃ 日本",
    "<<EOF",
    "--mount=type=bind",
    "x" * 100_000,
]


def dockerfile(root: Path, config: str) -> str:
    return writer.write_dockerfile(load(root, f"base_image: base:1\n{config}")).dockerfile


def instructions(text: str) -> list[str]:
    """As a builder cuts them: comments apart, lines that go on put together."""
    lines = [line for line in text.split("\n") if not re.match(r"\s*#", line)]
    assert max(len(line.encode()) for line in lines) < 65_536
    return [row for row in re.sub(r"\\\n", "", "\n".join(lines)).split("\n") if row]


def read(word: str, env: dict[str, str]) -> str:
    """A value of ENV, as a builder reads it."""
    if not word.startswith('"'):
        assert re.fullmatch(r"[\w@%+=:,./-]*|\$\{\w+\}", word)
    inner = word[1:-1] if word.startswith('"') else word
    out = ""
    while inner:
        if match := re.match(r"\$\{(\w+)\}", inner):
            out, inner = out + env[match[1]], inner[match.end() :]
        elif inner[0] == "\\" and inner[1] in '\\"$':
            out, inner = out + inner[1], inner[2:]
        else:
            assert inner[0] not in '"$\n'
            out, inner = out + inner[0], inner[1:]
    return out


@pytest.mark.guarantee("ejected-values-are-literal")
@pytest.mark.parametrize("value", AWKWARD)
def test_ejected_value_is_parsed_by_docker_as_in_config(tmp_path: Path, value: str) -> None:
    command = value[:50_000]
    quoted = json.dumps(command.replace("$", "$$"))
    text = dockerfile(tmp_path, f"env: [{json.dumps('X=' + value.replace('$', '$$'))}]\nentry: {{command: {quoted}}}\n")
    rows = instructions(text)
    (env,) = [row for row in rows if row.startswith("ENV X=")]
    assert read(env.removeprefix("ENV X="), {quoting.NEWLINE: "\n"}) == value
    if value:
        (actual,) = [row for row in rows if row.startswith("CMD ")]
        assert json.loads(actual.removeprefix("CMD ")) == ["/bin/sh", "-c", "--", command]


@pytest.mark.parametrize("script", [value for value in AWKWARD if value.strip()])
def test_ejected_script_is_run_as_in_config(tmp_path: Path, script: str) -> None:
    """In the line, or from a file that our script runs."""
    habitat = load(tmp_path, f"base_image: base:1\nsetup: {{root: [{json.dumps(script)}]}}\n")
    dockerfile_text = writer.write_dockerfile(habitat)
    part = dockerfile_text.dockerfile.partition("# Phase 7, setup")[2].partition("# Phase")[0]
    (run,) = [row for row in instructions(part) if row.startswith("RUN ")]
    argv = json.loads(run[run.index("[") :])
    runner = ["/dev/scripts/run", "-u", "root"]
    if argv[3] == "--":
        assert argv == [*runner, "--", script]
    else:
        (file,) = [file for file in dockerfile_text.context.files if file.path == "commands/7-setup-1.sh"]
        assert (argv, file.content.decode()) == ([*runner, "-f", "/dev/7-setup-1.sh", "--"], script)


def test_ejected_dockerfile_has_instruction_for_every_step(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/notes", "n")
    write(tmp_path, "habitats/demo/t.sh", "t", 0o755)
    text = dockerfile(
        tmp_path,
        """
env: [USER=dev, WORKDIR=/w, "PATH=/x:$PATH"]
files: [{source: notes, dest: ~/notes, owner: "dev:staff", mode: "0600"}]
setup: {root: [echo one], user: [echo two]}
repos: [{url: "https://e.org/p.git", path: p, branch: b, setup: [make]}]
verify-fs: {required_files: [M]}
tests: [t.sh]
entry: {command: run it}
""",
    )
    rows = [re.sub(r"--mount=\S+\s+", "", row) for row in instructions(text)]
    for row in (
        "FROM base:1 AS habitat",
        'ENV PATH="/x:${PATH}"',
        'RUN ["/dev/scripts/own", "dev", "/w"]',
        'RUN ["/dev/scripts/put", "/dev/notes", "~/notes", "dev:staff", "0600", "0755"]',
        'RUN ["/dev/scripts/run", "-u", "root", "--", "echo one"]',
        'RUN ["/dev/scripts/run", "-u", "dev", "-k", "USER", "-C", "/w/p", "--", "make"]',
        'RUN ["/dev/scripts/require", "dev", "add them in setup, files or repos, or take them off the list", "/w/M"]',
        "FROM habitat AS test",
        'RUN ["/dev/scripts/run", "-u", "dev", "-t", "-k", "USER", "--", "exec \\"$1\\"", "/habitat/local/t.sh"]',
        "FROM habitat AS final",
        "ENTRYPOINT []",
        'CMD ["/bin/sh", "-c", "--", "run it"]',
    ):
        assert row in rows
    # What follows runs as whoever was said last, in the folder that is there by then.
    assert rows.index('RUN ["/dev/scripts/run", "-u", "root", "--", "echo one"]') < rows.index("USER dev")
    assert rows.index('RUN ["/dev/scripts/own", "dev", "/w"]') < rows.index("WORKDIR /w")


def test_ejected_secret_becomes_mount_and_build_flag(tmp_path: Path) -> None:
    habitat = load(
        tmp_path,
        """
base_image: base:1
secrets:
  - {name: TOKEN, command: "echo '$x'", phases: [setup], variable: T}
  - {name: key, file: ./k, phases: [setup], optional: true}
setup: {user: [echo two]}
""",
    )
    dockerfile_text = writer.write_dockerfile(habitat)
    assert (
        "--mount=type=secret,id=TOKEN,target=/run/secrets/TOKEN,mode=0444,required=true" in dockerfile_text.dockerfile
    )
    assert "--mount=type=secret,id=key,target=/run/secrets/key,mode=0444 " in dockerfile_text.dockerfile
    assert '"-s", "T=TOKEN", "--", "echo two"' in dockerfile_text.dockerfile
    text = readme(habitat, dockerfile_text, has_volumes=False)
    assert "SECRET_TOKEN=\"$(echo '$x')\" \\\n    DOCKER_BUILDKIT=1 docker build" in text
    assert "--secret id=TOKEN,env=SECRET_TOKEN" in text
    assert f"--secret id=key,src={tmp_path}/habitats/demo/k" in text
    assert "leave out the flag of one that you don't have: key." in text


def test_ejected_cache_becomes_mount_for_setup_repos_and_tools(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/t.sh", "t", 0o755)
    text = dockerfile(
        tmp_path,
        """
env: [USER=dev]
caches: [~/.npm, {path: "/var/cache/a, b", sharing: locked}]
setup: {user: [echo one]}
tests: [t.sh]
""",
    )
    rows = instructions(text)
    home = "/home/dev/.npm"
    npm = f"--mount=type=cache,id=demo:{home},target={home},sharing=shared,from=habitat,source={home}"
    (one,) = [row for row in rows if row.endswith('"echo one"]')]
    assert npm in one
    assert "target=/var/cache/a" in one
    assert "sharing=locked" in one
    assert [row for row in rows if "type=cache" in row] == [one]
    places = next(
        number for number, row in enumerate(rows) if '"/dev/scripts/mountpoint", "dev", "/workspace", "~/.npm/"' in row
    )
    assert places < rows.index("FROM habitat AS habitat-caches") < rows.index(one)
    assert "FROM habitat-caches AS test" in rows


@pytest.mark.parametrize("has_other", [True, False])
def test_ejected_tests_with_init_are_left_out_and_named_in_readme(tmp_path: Path, has_other: bool) -> None:
    for name in ("t.sh", "db.sh"):
        write(tmp_path, f"habitats/demo/{name}", "t", 0o755)
    other = "t.sh, " if has_other else ""
    text = f"base_image: base:1\ntests: [{other}{{run: db.sh, init: true}}]\nentry: {{init_command: /sbin/boot}}\n"
    habitat = load(tmp_path, text)
    build = writer.write_dockerfile(habitat)
    tests = [row for row in instructions(build.dockerfile) if '"-t"' in row]
    assert [row.rpartition('"/')[2] for row in tests] == (['habitat/local/t.sh"]'] if has_other else [])
    assert ("FROM habitat AS test" in build.dockerfile) == has_other
    page = readme(habitat, build, has_volumes=False)
    assert "- No build has an init command beside it, so these tests are left out: `db.sh`." in page
    assert ("--target test" in page) == has_other


@pytest.mark.parametrize(
    ("script", "code", "out"),
    [
        ("echo 1..1; echo ok 1", 0, "1..1\nok 1\n"),
        ("echo 1..1; echo not ok 1", 1, "1..1\nnot ok 1\n"),
        ("echo ok 1; exit 5", 5, "ok 1\n"),
        ("printf 'no %s end' line; sleep 5 2>/dev/null &", 0, "no line end\n"),
    ],
)
def test_ejected_test_is_judged_by_exit_code_and_tap(script: str, code: int, out: str) -> None:
    run = Path(writer.__file__).parent / "scripts/run"
    argv = ("/bin/sh", str(run), "-u", "root", "-t", "--", script)
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=4)
    assert (result.returncode, result.stdout) == (code, out)


def test_ejected_known_hosts_files_become_separate_secrets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, f"habitats/demo/{name}", "e.org ssh-ed25519 AAAA\n")
    habitat = load(
        tmp_path,
        """
base_image: base:1
repos:
  - {url: "ssh://git@e.org/a.git", path: a, ssh_agent: true, known_hosts: one}
  - {url: "ssh://git@e.org/b.git", path: b, ssh_agent: true, known_hosts: two}
""",
    )
    dockerfile_text = writer.write_dockerfile(habitat)
    text = readme(habitat, dockerfile_text, has_volumes=False)
    for name, file in (("known_hosts", "one"), ("known_hosts.1", "two")):
        assert f"id={name},target=/run/secrets/.known_hosts,mode=0444,required=true" in dockerfile_text.dockerfile
        assert re.search(rf"--secret id={name},src=\S*/{file} ", text)
    assert "--mount=type=ssh,target=/run/ssh-agent/socket,mode=0666,required=true" in dockerfile_text.dockerfile
    assert "--ssh default" in text


def test_ejected_runtime_settings_become_docker_run_flags(tmp_path: Path) -> None:
    write(tmp_path, "data/x")
    habitat = load(
        tmp_path,
        """
base_image: base:1
volumes: [{source: ./data, dest: "/da ta", readonly: true}]
entry:
  init_command: /sbin/boot --now
  startup_delay: 3
  command: echo it's
  network: none
  limits: {memory: 1g, cpus: 1.5, pids: 7}
timeouts: {setup: 5m}
""".replace("./data", str(tmp_path / "data")),
    )
    text = readme(habitat, writer.write_dockerfile(habitat), has_volumes=False)
    for flag in ("--network none", "--memory 1073741824", "--cpus 1.5", "--pids-limit 7", ":/da ta:ro'", "sleep 3"):
        assert flag in text
    assert "    demo /sbin/boot --now\nsleep 3\ndocker exec -it demo /bin/sh -c -- 'echo it" in text
    assert "timeouts" in text


def test_ejected_readme_lists_what_only_a_running_habitat_has(tmp_path: Path) -> None:
    for name in ("vimrc", "AGENTS-notes.md"):
        write(tmp_path, f"habitats/demo/{name}", "secret-free text")
    texts = "instructions: ['# Rules\\n\\n```\\nmake', {file: AGENTS-notes.md}]\n"
    entry = "entry: {files: [{source: vimrc, dest: ~/.vimrc}], instruction_files: [~/.a/AGENTS.md, ~/.b/B.md]}\n"
    habitat = load(tmp_path, "base_image: base:1\n" + texts.replace("'", '"') + entry)
    build = writer.write_dockerfile(habitat)
    text = readme(habitat, build, has_volumes=False)
    assert "A habitat writes its `instructions:` for agents into `~/.a/AGENTS.md`, `~/.b/B.md` at each start." in text
    assert "> # Rules\n> \n> ```\n> make\n>\n> the file AGENTS-notes.md\n" in text
    assert "copy them with `docker cp`.\n\n- `vimrc` to `~/.vimrc`\n" in text
    assert "vimrc" not in build.dockerfile
    plain = load(tmp_path, "base_image: base:1\n")
    text = readme(plain, writer.write_dockerfile(plain), has_volumes=False)
    assert "`instructions:`" not in text
    assert "docker cp" not in text


def test_ejected_readme_lists_ports_persist_and_ready(tmp_path: Path) -> None:
    entry = "{ports: [3000, '0.0.0.0:8080:80'], persist: [~/.cache/], ready: curl -f localhost, env: [A=1 $$2, B=$C]}"
    habitat = load(tmp_path, f"base_image: base:1\nentry: {entry}\n")
    text = readme(habitat, writer.write_dockerfile(habitat), has_volumes=False)
    for text_part in (
        "--publish 127.0.0.1:3000:3000/tcp",
        "--publish 0.0.0.0:8080:80/tcp",
        "`~/.cache/`",
        "curl -f loc",
        "--env 'A=1 $2'",
        "B=${C}",
    ):
        assert text_part in text


def test_ejected_volume_path_not_expressible_is_refused_with_line(tmp_path: Path) -> None:
    folder = write(tmp_path, "data/x").parent
    with pytest.raises(ConfigError, match=r"config.yaml:2: no Dockerfile can express"):
        dockerfile(tmp_path, f'volumes: [{{source: {folder}, dest: "/a\'b"}}]\nsetup: {{root: [ls]}}\n')


def test_ejected_tree_with_mixed_modes_is_copied_in_parts() -> None:
    def entry(dest: str, mode: int, kind: str = "file") -> Entry:
        return Entry(dest, kind, "dev", mode, SOMEWHERE)  # type: ignore[arg-type]

    usual = [entry("/a", 0o755, "dir"), entry("/a/x", 0o644), entry("/a/y", 0o755)]
    assert [(copied.root.dest, copied.mode) for copied in file_trees(usual)] == [("/a", 0)]
    same = [entry("/a", 0o750, "dir"), entry("/a/x", 0o640)]
    assert [(copied.mode, copied.folder_mode) for copied in file_trees(same)] == [(0o640, 0o750)]
    mixed = [entry("/a", 0o755, "dir"), entry("/a/x", 0o600), entry("/a/y", 0o755)]
    assert [(copied.root.dest, copied.mode) for copied in file_trees(mixed)] == [
        ("/a", 0),
        ("/a/x", 0o600),
        ("/a/y", 0),
    ]


@pytest.mark.parametrize(("name", "shown"), [("a.b-c", "a.b-c"), ("a,b", "file"), ("a b", "file"), ("-rf", "file")])
def test_ejected_file_with_awkward_name_is_mounted_under_plain_name(tmp_path: Path, name: str, shown: str) -> None:
    write(tmp_path, f"habitats/demo/{name}", "n")
    text = dockerfile(tmp_path, f"files: [{{source: './{name}', dest: '/etc/{name}'}}]\n")
    assert f"--mount=from=context,source=files/6-files-2/{shown},target=/dev/{shown} " in text
    assert f'["/dev/scripts/put", "/dev/{shown}", "/etc/{name}", "agent"]' in text


# A Dockerfile of the habitat's own


def merged(root: Path, text: str) -> list[str] | None:
    (root / "habitats/demo").mkdir(parents=True)
    (root / "habitats/demo/Dockerfile").write_text(text)
    return own_dockerfile.stages(load(root, "description: d\n"), writer.CONTEXT_STAGE)


def test_ejected_own_dockerfile_becomes_first_stages(tmp_path: Path) -> None:
    actual = merged(
        tmp_path,
        "# head\nARG V=1\n# why\nFROM a:$V AS tools\nCOPY --chown=1 x y /z/\nFROM b\n"
        'COPY --from=tools /z /z\nRUN --mount=type=cache,target=/c make \\\n# no end\n && copy\nCOPY ["a b", "/"]\n\n',
    )
    assert actual is not None
    assert actual[actual.index("# Phase 0, dockerfile: dockerfile/Dockerfile") :] == [
        "# Phase 0, dockerfile: dockerfile/Dockerfile",
        "# why",
        "FROM a:$V AS tools",
        "COPY --from=dockerfile-context --chown=1 x y /z/",
        "FROM b AS dockerfile",
        "COPY --from=tools /z /z",
        "RUN --mount=type=cache,target=/c make \\",
        "# no end",
        " && copy",
        'COPY --from=dockerfile-context ["a b", "/"]',
    ]
    # An argument is for FROM only before the first.
    assert actual[:4] == ["# head", "ARG V=1", "", "FROM scratch AS context"]


def test_ejected_own_dockerfile_keeps_name_of_its_last_stage(tmp_path: Path) -> None:
    actual = merged(tmp_path, "FROM a as last\n")
    assert actual
    assert actual[-3:] == ["FROM a as last", "", "FROM last AS dockerfile"]


@pytest.mark.parametrize(
    "text",
    [
        "# syntax=docker/dockerfile:1\nFROM a\n",
        "# escape=`\nFROM a\n",
        "FROM a\nADD x.tar /\n",
        "FROM a AS s\nONBUILD COPY . /\nFROM s\n",
        "FROM a\nFROM b\nCOPY --from=0 /x /x\n",
        "FROM a\nRUN --mount=type=bind,target=/x ls\n",
        "FROM a\nRUN --mount=type=cache,target=/x \\\n --mount=target=/y ls\n",
        "FROM a\nCOPY <<EOF /x\nhello\nEOF\n",
        "FROM a AS habitat\nFROM habitat\n",
        "FROM a\nCOPY --from=context /x /x\n",
        "FROM a\nCOPY \\\n x /\n",
    ],
)
def test_ejected_own_dockerfile_not_mergeable_is_built_separately(tmp_path: Path, text: str) -> None:
    assert merged(tmp_path, text) is None
    habitat = load(tmp_path)
    dockerfile_text = writer.write_dockerfile(habitat)
    assert "FROM demo-dockerfile AS habitat\n" in dockerfile_text.dockerfile
    assert "--tag demo-dockerfile dockerfile &&\n" in readme(habitat, dockerfile_text, has_volumes=False)


def test_ejected_named_dockerfile_is_merged_instead_of_dockerfile(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM wrong\n")
    write(tmp_path, "habitats/demo/Dockerfile.dev", "FROM right\nCOPY . /\n")
    actual = writer.write_dockerfile(load(tmp_path, "dockerfile: Dockerfile.dev\n"))
    assert "# Phase 0, dockerfile: dockerfile/Dockerfile.dev\nFROM right AS dockerfile\n" in actual.dockerfile
    assert "wrong" not in actual.dockerfile
    files = {file.path for file in actual.context.files}
    assert {"dockerfile/Dockerfile", "dockerfile/Dockerfile.dev"} < files


@pytest.mark.parametrize(
    ("ignore_file", "patterns", "files"),
    [
        (".dockerignore", "x\n", {".dockerignore", "Dockerfile", "my file", "y"}),
        (".dockerignore", "x\nmy*\n.d*\n", {".dockerignore", "Dockerfile", "my file", "y"}),
        ("my file.dockerignore", "x\nmy*\n", {"Dockerfile", "my file", "my file.dockerignore", "y"}),
    ],
)
def test_ejected_named_dockerfile_built_separately_is_named_and_has_its_ignore_file(
    tmp_path: Path, ignore_file: str, patterns: str, files: set[str]
) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM wrong\n")
    write(tmp_path, "habitats/demo/my file", "FROM right\nADD . /\n")
    write(tmp_path, f"habitats/demo/{ignore_file}", patterns)
    for name in ("x", "y"):
        write(tmp_path, f"habitats/demo/{name}")
    habitat = load(tmp_path, "dockerfile: my file\n")
    actual = writer.write_dockerfile(habitat)
    command = "build --file 'dockerfile/my file' --tag demo-dockerfile dockerfile &&\n"
    assert command in readme(habitat, actual, has_volumes=False)
    assert "# dockerfile/my file, built before this one\n" in actual.dockerfile
    folder = {file.path.removeprefix("dockerfile/") for file in actual.context.files if "dockerfile/" in file.path}
    assert folder == files


@pytest.mark.parametrize(
    ("mode", "in_archive"), [(0o600, True), (0o440, True), (0o4755, True), (0o664, False), (0o775, False)]
)
def test_ejected_own_dockerfile_context_with_modes_unknown_to_git_is_archived(
    tmp_path: Path, mode: int, in_archive: bool
) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM a\nCOPY key /\n")
    write(tmp_path, "habitats/demo/key", mode=mode)
    text = writer.write_dockerfile(load(tmp_path, "description: d\n"))
    files = text.context.archived if in_archive else text.context.files
    assert [file.mode for file in files if file.path == "dockerfile/key"] == [mode]


# The folder


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    return DemoProject(tmp_path, "base_image: base:1\nsetup: {root: [echo one]}\n")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_ejected_own_dockerfile_onbuild_of_last_stage_is_refused_with_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^habitats/demo/Dockerfile:4: ONBUILD would run in the ejected Dockerfile"):
        merged(tmp_path, "FROM a AS s\nONBUILD RUN x\nFROM s\nonbuild COPY . /\n")


def test_ejected_final_stage_switches_health_check_off(tmp_path: Path) -> None:
    rows = instructions(dockerfile(tmp_path, ""))
    assert rows[rows.index("HEALTHCHECK NONE") - 1].endswith(" AS final")


def test_eject_names_base_image_id_and_builds_nothing(demo: DemoProject) -> None:
    assert eject(demo.project, "demo").folder == "ejected/demo"
    assert f"# built on {demo.base}\n" in (demo.root / "ejected/demo/Dockerfile").read_text()
    assert [image.id for image in demo.engine.images()] == [demo.base]
    assert not demo.engine.containers()


def test_eject_base_image_with_onbuild_is_refused_with_line(demo: DemoProject) -> None:
    demo.engine.add_image("base:1", on_build=("RUN touch /x",))
    with pytest.raises(ConfigError, match=r"^habitats/demo/config.yaml:1: base:1 has ONBUILD RUN touch /x, which doc"):
        eject(demo.run_anew(), "demo")
    assert not (demo.root / "ejected").exists()


def test_ejected_dockerfile_can_be_migrated(demo: DemoProject) -> None:
    eject(demo.run_anew(), "demo")
    shutil.copytree(demo.root / "ejected/demo", demo.root / "habitats/back")
    back = migrate(demo.run_anew(), "back", {})
    assert back
    assert [row.line for row in back.rows if row.text == "ENTRYPOINT []"]


def test_eject_again_replaces_its_own_output(demo: DemoProject) -> None:
    eject(demo.project, "demo")
    before = contents(demo.root / "ejected/demo")
    eject(demo.run_anew(), "demo")
    assert contents(demo.root / "ejected/demo") == before
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\n")
    eject(demo.run_anew(), "demo")
    assert "echo one" not in (demo.root / "ejected/demo/Dockerfile").read_text()
    assert [path.name for path in (demo.root / "ejected").iterdir()] == ["demo"]


@pytest.mark.guarantee("eject-replaces-no-other-file")
def test_eject_output_changed_by_person_is_not_replaced(demo: DemoProject) -> None:
    eject(demo.project, "demo")
    file = demo.root / "ejected/demo/Dockerfile"
    file.write_text("mine\n")
    with pytest.raises(StateError, match="ejected/demo: was changed since it was ejected: move it"):
        eject(demo.run_anew(), "demo")
    assert file.read_text() == "mine\n"


@pytest.mark.guarantee("eject-replaces-no-other-file")
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_eject_output_path_not_ejected_before_is_not_replaced(demo: DemoProject, kind: str) -> None:
    place = demo.root / "place"
    write(demo.root, "other/mine", "mine")
    if kind == "folder":
        write(demo.root, "place/mine", "mine")
    elif kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to("other")
    with pytest.raises(StateError, match="place: exists, and `eject` didn't write it"):
        eject(demo.project, "demo", "place")
    assert contents(demo.root / "other") == {"mine": "mine"}
    assert place.is_symlink() or kind == "file" or contents(place) == {"mine": "mine"}


def test_eject_fills_empty_output_folder(demo: DemoProject) -> None:
    (demo.root / "place").mkdir()
    eject(demo.project, "demo", "place")
    assert (demo.root / "place/Dockerfile").exists()


def test_eject_removes_draft_of_killed_run(demo: DemoProject) -> None:
    result = subprocess.Popen(["true"])
    result.wait()
    write(demo.root, f"ejected/.demo.ejecting.{result.pid}/half", "half")
    eject(demo.project, "demo")
    assert [path.name for path in (demo.root / "ejected").iterdir()] == ["demo"]


def test_eject_write_failure_keeps_previous_output(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    eject(demo.project, "demo")
    before = contents(demo.root / "ejected/demo")

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("phases.core.eject.output_dir._write", refuse)
    with pytest.raises(StateError, match=r"ejected/demo: can't be written .*: make room on the disk"):
        eject(demo.run_anew(), "demo")
    assert contents(demo.root / "ejected/demo") == before
    assert [path.name for path in (demo.root / "ejected").iterdir()] == ["demo"]
