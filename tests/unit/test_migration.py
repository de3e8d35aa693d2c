"""From a Dockerfile to a config: what each instruction becomes, and that nothing changes its meaning."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fake_files import Node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit_helpers import DemoProject, load, write

from phases.core import copied_files
from phases.core.errors import HabitatError
from phases.core.migrate import command as migrate_command
from phases.core.migrate import dockerfile
from phases.core.migrate.dockerfile_state import BuildState
from phases.core.migrate.instructions import scripts

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.migrate.command import Migration


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    """A habitat `demo` that has a Dockerfile alone; `base:1` has the users root and others of its own."""
    demo = DemoProject(tmp_path)
    (tmp_path / "habitats/demo/config.yaml").unlink()
    return demo


def migrated(demo: DemoProject, text: str, config: str | None = None, **given: str) -> Migration:
    write(demo.root, "habitats/demo/Dockerfile", text)
    if config is not None:
        write(demo.root, "habitats/demo/config.yaml", config)
    draft = migrate_command.migrate(demo.run_anew(), "demo", given)
    assert draft
    return draft


def config_of(draft: Migration) -> dict[str, Any]:
    config = yaml.safe_load(draft.config)
    assert isinstance(config, dict)
    return config


def carried(demo: DemoProject, lines: str, **given: str) -> dict[str, Any]:
    """What the lines behind `FROM base:1` become, but for what every habitat gets."""
    config = config_of(migrated(demo, f"FROM base:1\n{lines}\n", **given))
    config["env"] = [
        entry for entry in config["env"] if entry not in ("USER=root", "WORKDIR=/", "HABITAT_PATH=/habitat")
    ]
    return {key: value for key, value in config.items() if value and key != "base_image"}


def root(*draft: str) -> dict[str, Any]:
    return {"setup": {"root": list(draft)}}


def env(*draft: str) -> dict[str, Any]:
    return {"env": list(draft)}


def command(text: str) -> dict[str, Any]:
    return {"entry": {"command": text}}


TABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "a command": ("RUN make", root("make")),
    "one that may go on after a failure": ("RUN false; true", root("set +e\nfalse; true\n")),
    "one that says -e itself": ("RUN set -e; a; b", root("set -e; a; b")),
    "a semicolon in quotes": ("RUN echo 'a;b' && c", root("echo 'a;b' && c")),
    "exec form": ('RUN ["a b", "$C", "it\'s"]', root("exec 'a b' '$C' 'it'\"'\"'s'")),
    "a platform's names": (
        "ARG TARGETARCH BUILDPLATFORM\nRUN a",
        root(
            'TARGETARCH=$(uname -m | sed "s/^x86_64$/amd64/; s/^aarch64$/arm64/; s/^armv.*/arm/; s/^i.86$/386/")\n'
            "export BUILDPLATFORM=linux/$TARGETARCH TARGETARCH=$TARGETARCH\na\n"
        ),
    ),
    "a platform's name with a value": ("ARG TARGETARCH=x\nRUN a", root("export TARGETARCH=x\na\n")),
    "a platform's name that no ARG has": ("RUN echo $TARGETARCH", root("echo $TARGETARCH")),
    "lines": ("RUN a \\\n  # why\n  && b", root("a \\\n  && b\n")),
    "lines within quotes": ("RUN echo 'a \\\n  b'", root("echo 'a   b'")),
    "a document": ("RUN <<EOF\na\nb $c\nEOF", root("set +e\na\nb $c\n")),
    "a document of a command": ("RUN cat <<'E' >/x\n$a\nE", root("set +e\ncat <<'E' >/x\n$a\nE\n")),
    "a shell": ('SHELL ["/bin/bash", "-ec"]\nRUN a; b', root("exec /bin/bash -ec 'a; b'")),
    "an argument": ("ARG A='1 2'\nRUN a", root("export A='1 2'\na\n")),
    "one without a value": ("ARG A\nRUN a", root("a")),
    "a default in a word": ("ARG A\nENV B=${A:-x}-${C:+y}", env("B=x-")),
    "variables of a document's escape": ("ENV A=\\$b C='$d' E=\"f g\"", env("A=$$b", "C=$$d", "E=f g")),
    "the old form": ("ENV A b  c", env("A=b  c")),
    "PATH goes on": ("ENV PATH=/a:$PATH\nENV PATH=/b:${PATH}", env("PATH=/a:${PATH}", "PATH=/b:${PATH}")),
    "the last of two": ("ENV A=1\nENV A=2", env("A=2")),
    "a variable that comes later": ("RUN a\nENV A=1", env("A=1") | root("unset A\na\n")),
    "one that changes": ("ENV A=1\nRUN a\nENV A=2", env("A=2") | root("export A=1\na\n")),
    "a folder that changes": ("WORKDIR /a\nRUN b\nWORKDIR /", root("mkdir -p /a", "cd /a\nb\n")),
    "a user of the image": ("USER 1000\nRUN a\nUSER root", {"setup": [{"run_as": "1000", "commands": ["a"]}]}),
    "arguments of an entrypoint": ('ENTRYPOINT ["a"]\nCMD ["$B", "c d"]', command("exec a '$$B' 'c d'")),
    "a command for the shell": ("CMD a; b $C", command("a; b $$C")),
    "a shell as a command": ('CMD ["bash"]', {}),
    "an entrypoint takes the image's command away": ('ENTRYPOINT ["a"]', command("exec a")),
    "a description": ('LABEL description="two  words"', {"description": "two words"}),
    "a secret": (
        "RUN --mount=type=secret,id=npm-token a",
        root("a") | {"secrets": [{"name": "npm-token", "env": "NPM_TOKEN", "phases": ["setup"], "optional": True}]},
    ),
    "a cache": ("RUN --mount=type=cache,target=/c,id=x a", root("a") | {"caches": ["/c"]}),
    "a cache of two commands": (
        "RUN --mount=type=cache,dst=/c a\nRUN --mount=type=cache,target=/c,sharing=locked,mode=0755,uid=0 b",
        root("a", "b") | {"caches": [{"path": "/c", "sharing": "locked"}]},
    ),
    "a private cache": (
        "WORKDIR /w\nRUN --mount=type=cache,target=c,sharing=private a\nWORKDIR /",
        root("mkdir -p /w", "cd /w\na\n") | {"caches": [{"path": "/w/c", "sharing": "locked"}]},
    ),
    "a cache in root's home": (
        "RUN --mount=type=cache,target=/root/.npm,uid=7 a",
        root("a") | {"caches": ["/root/.npm"]},
    ),
}


@pytest.mark.parametrize(("lines", "expected"), TABLE.values(), ids=TABLE)
def test_migrate_instruction_becomes_config_key(demo: DemoProject, lines: str, expected: dict[str, Any]) -> None:
    needs_none = {"entry": {"command": "exec serve"}} if "CMD" not in lines and "ENTRY" not in lines else {}
    assert carried(demo, lines) == {**needs_none, **expected}


COPIES: dict[str, tuple[str, list[dict[str, str]]]] = {
    "a file": ("COPY a /x/", [{"source": "a", "dest": "/x/a", "owner": "root"}]),
    "to a name": ("COPY a /x/y", [{"source": "a", "dest": "/x/y", "owner": "root"}]),
    "to WORKDIR": ("WORKDIR /w\nCOPY a .", [{"source": "a", "dest": "/w/a", "owner": "root"}]),
    "an owner and a mode": (
        "COPY --chown=a:b --chmod=0640 a /x/",
        [{"source": "a", "dest": "/x/a", "owner": "a:b", "mode": "0640"}],
    ),
    "a mode of its own": (
        "COPY private /x/",
        [{"source": "private", "dest": "/x/private", "owner": "root", "mode": "0600"}],
    ),
    "an executable": ("COPY run /x/", [{"source": "run", "dest": "/x/run", "owner": "root"}]),
    "a folder": ("COPY d /x", [{"source": "d", "dest": "/x", "owner": "root"}]),
    "wildcards": ("ADD [a-b] /x/", [{"source": n, "dest": f"/x/{n}", "owner": "root"} for n in "ab"]),
    "a dollar sign": ("COPY \\$c /x/", [{"source": "$$c", "dest": "/x/$$c", "owner": "root"}]),
}


FOLDER_COPIES: dict[str, tuple[str, str]] = {
    "of the base": ("COPY a /usr/share", "/usr/share/a"),
    "a link to a folder of the base": ("COPY a /lnk", "/lnk/a"),
    "made by a COPY of a folder": ("COPY d /x\nCOPY a /x", "/x/a"),
    "made by a COPY of a file": ("COPY b /x/y/b\nCOPY a /x/y", "/x/y/a"),
    "made by a WORKDIR": ("WORKDIR /x\nCOPY a /x", "/x/a"),
    "none yet": ("COPY a /x", "/x"),
    "a file of the base": ("COPY a /etc/passwd", "/etc/passwd"),
}


@pytest.mark.parametrize(("lines", "dest"), FOLDER_COPIES.values(), ids=FOLDER_COPIES)
def test_migrate_copy_to_existing_folder_without_slash_goes_into_it(files: DemoProject, lines: str, dest: str) -> None:
    assert carried(files, lines)["files"][-1]["dest"] == dest


def test_migrate_copy_to_what_a_run_may_have_made_decides_in_script(files: DemoProject) -> None:
    scripts_of = carried(files, "RUN mk\nCOPY a /made\nCOPY run /bin/run\nCOPY a /usr/share\nCOPY d /made")["setup"][
        "root"
    ]
    decides = [
        "mkdir -p /",
        "dest=/made",
        '[ ! -d "$dest" ] || dest=$dest/a',
        'rm -f "$dest"',
        'cp -P "$LOCAL_PATH"/a "$dest"',
    ]
    assert scripts_of[1].splitlines() in (decides, decides[1:])
    assert [("dest=" in script) for script in scripts_of[2:]] == [False, False, False]
    assert "/usr/share/a" in scripts_of[3]


def test_migrate_copy_after_run_of_hidden_file_becomes_setup_command(files: DemoProject) -> None:
    write(files.root, "habitats/demo/.zshrc")
    write(files.root, "habitats/demo/.npmrc")
    draft = migrated(files, "FROM base:1\nRUN a\nCOPY .zshrc /root/\nCOPY d /\nRUN b\n")
    assert config_of(draft)["setup"]["root"][1].splitlines()[-1] == 'cp -P "$LOCAL_PATH"/.zshrc /root/.zshrc'
    draft = migrated(files, "FROM base:1\nRUN a\nCOPY .npmrc /root/\nRUN b\n")
    assert "it comes after a RUN, and $LOCAL_PATH leaves out .npmrc" in [row.why for row in draft.rows]
    draft = migrated(files, "FROM base:1\nRUN a\nCOPY . /x\nRUN b\n")
    assert "it comes after a RUN, and $LOCAL_PATH leaves out .npmrc" in [row.why for row in draft.rows]


def test_migrate_copy_keeps_modes_of_folders(files: DemoProject) -> None:
    folder = files.root / "habitats/demo/d"
    for name, mode in (("private", 0o700), ("shared", 0o1777), ("group", 0o775), ("tmp", 0o755), ("own", 0o755)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    draft = carried(files, "COPY d /\nCOPY d /x")
    assert [entry["dest"] for entry in draft["files"]] == ["/", "/x"]
    first, second = (sorted(script.splitlines()) for script in draft["setup"]["root"])
    assert first == ["chmod 0700 /private", "chmod 0755 /tmp", "chmod 1777 /shared", "chown 0:0 /own"]
    assert second == ["chmod 0700 /x/private", "chmod 1777 /x/shared"]
    script = carried(files, "RUN a\nCOPY --chown=5 d /x")["setup"]["root"][1]
    assert script.splitlines()[-5:] == [
        "cp -R . /x",
        "find . ! -name . -type d -exec chmod 0755 /x/{} \\;",
        "find . ! -name . -exec chown -h 5:5 /x/{} \\;",
        "chmod 0700 /x/private",
        "chmod 1777 /x/shared",
    ]


def test_migrate_copy_after_run_with_chmod_sets_mode_of_files(files: DemoProject) -> None:
    assert (
        "find . -type f -exec chmod 755 /x/{} \\;" in carried(files, "RUN a\nCOPY --chmod=755 d /x")["setup"]["root"][1]
    )
    (files.root / "habitats/demo/d/sub").mkdir()
    rows = migrated(files, "FROM base:1\nCOPY --chmod=644 d /x\n").rows
    assert [row.why for row in rows if row.line == 2] == [
        "its --chmod also changes folders, and a config's mode only files"
    ]


COMMANDS: dict[str, tuple[str, list[str]]] = {
    "a shell": ('CMD ["bash"]', ["a habitat starts a shell by itself: bash, if the image has it"]),
    "a shell as entrypoint": (
        'ENTRYPOINT ["/bin/sh"]',
        ["a habitat starts a shell by itself: bash, if the image has it"],
    ),
    "a login shell": ('CMD ["bash", "-l"]', [""]),
    "replaced": ('CMD ["a"]\nCMD ["b"]', ["line 3 replaces it", ""]),
    "two parts": ('ENTRYPOINT ["a"]\nCMD ["b"]', ["", ""]),
    "none": ("ENTRYPOINT []\nCMD []", ["it leaves no command, and a habitat without one starts a shell"] * 2),
    "taken away": ('ENTRYPOINT [""]', ["it leaves no command, and a habitat without one starts a shell"]),
}


@pytest.mark.parametrize(("lines", "whys"), COMMANDS.values(), ids=COMMANDS)
def test_migrate_report_names_command_only_if_config_has_it(demo: DemoProject, lines: str, whys: list[str]) -> None:
    rows = migrated(demo, f"FROM base:1\n{lines}\n").rows[1:]
    assert [row.why for row in rows] == whys
    assert [row.place for row in rows] == ["" if why else "entry.command" for why in whys]


@pytest.fixture
def files(demo: DemoProject) -> DemoProject:
    image = demo.engine.files(demo.base)
    image.add("/usr/share", Node("dir"))
    image.add("/lnk", Node("link", target="/usr/share"))
    image.add("/tmp", Node("dir", mode=0o1777))
    image.add("/own", Node("dir", uid=5))
    for name in ("a", "b", "d/e", "$c"):
        write(demo.root, f"habitats/demo/{name}", name)
    write(demo.root, "habitats/demo/run", "#!/bin/sh\n", mode=0o755)
    write(demo.root, "habitats/demo/private", "x", mode=0o600)
    return demo


@pytest.mark.parametrize(("lines", "expected"), COPIES.values(), ids=COPIES)
def test_migrate_copy_before_first_run_becomes_files(
    files: DemoProject, lines: str, expected: list[dict[str, str]]
) -> None:
    assert carried(files, lines)["files"] == expected


def test_migrate_copy_of_folder_omits_dockerignored_files(files: DemoProject) -> None:
    write(files.root, "habitats/demo/.dockerignore", "d/*.md\n")
    write(files.root, "habitats/demo/d/notes.md")
    assert carried(files, "COPY d /x")["files"] == [{"source": "d/e", "dest": "/x/e", "owner": "root"}]


def test_migrate_copy_after_run_becomes_setup_command(files: DemoProject) -> None:
    draft = carried(files, "RUN a\nCOPY --chown=5 a /x/\nRUN b")
    assert "files" not in draft
    assert draft["setup"]["root"][1].splitlines() == [
        "[ -d /x ] || { mkdir /x; chown 5:5 /x; }",
        "rm -f /x/a",
        'cp -P "$LOCAL_PATH"/a /x/a',
        "chown -h 5:5 /x/a",
    ]


STAYS = {
    "another stage": (
        "FROM base:1 AS s\nRUN x\nFROM base:1\nCOPY --from=s /a /b\nRUN y",
        "only docker build has --from",
    ),
    "a stage goes on": ("FROM base:1 AS s\nRUN x\nFROM s\nRUN y", "it builds on another stage"),
    "a platform": ("FROM --platform=linux/amd64 base:1\nRUN y", "a config has no --platform=linux/amd64"),
    "a cache of another stage's": (
        "FROM base:1\nRUN --mount=type=cache,target=/c,from=x x\nRUN y",
        "a config's cache has no from=",
    ),
    "a cache of the builder's variable": (
        "FROM base:1\nRUN --mount=type=cache,target=/c/$A x\nRUN y",
        "only docker build knows the path of its cache",
    ),
    "a cache of somebody's": (
        "FROM base:1\nRUN --mount=type=cache,target=/c,uid=7 x\nRUN y",
        "a config can't set the owner or mode of /c",
    ),
    "a cache of the image's own": (
        "FROM base:1\nRUN --mount=type=cache,target=/var x\nRUN y",
        "/var can't be a cache: it is the image's own",
    ),
    "two caches at one place": (
        "FROM base:1\nRUN --mount=type=cache,target=/c,id=a x\nRUN --mount=type=cache,target=/c,id=b x\nRUN y",
        "line 3 has another cache at /c",
    ),
    "what is a cache for one command alone": (
        "FROM base:1\nRUN --mount=type=cache,target=/c x\nRUN cp /c/a /b\nRUN y",
        "line 3 uses /c without the cache",
    ),
    "what is copied to a cache": (
        "FROM base:1\nCOPY Dockerfile /c/\nRUN --mount=type=cache,target=/c x\nRUN y",
        "line 2 copies to /c, which is its cache",
    ),
    "a download": ("FROM base:1\nADD https://example.org/x /x\nRUN y", "it fetches from the network"),
    "a platform's variant": (
        "FROM base:1\nARG TARGETVARIANT\nRUN echo $TARGETVARIANT\nRUN y",
        "only docker build knows TARGETVARIANT",
    ),
    "a variable with the platform": (
        "FROM base:1\nARG TARGETARCH\nARG A=x-${TARGETARCH}\nRUN echo $A\nRUN y",
        "only docker build knows A",
    ),
    "ENV with the platform": (
        "FROM base:1\nARG TARGETARCH\nENV A=x-${TARGETARCH}\nRUN y",
        "only docker build knows TARGETARCH",
    ),
    "COPY by the platform": (
        "FROM base:1\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH/\nRUN y",
        "only docker build knows TARGETARCH",
    ),
    "another platform's name": (
        "FROM --platform=linux/arm64 base:1\nARG TARGETARCH\nRUN echo $TARGETARCH\nRUN y",
        "only docker build knows TARGETARCH",
    ),
    "an image by platform": (
        "ARG BASE=base-${TARGETARCH}:1\nFROM $BASE\nRUN y",
        "the platform decides which image it is",
    ),
    "another image by platform": ("FROM base-${TARGETARCH}:1\nRUN y", "the platform decides which image it is"),
    "what isn't there": ("FROM base:1\nCOPY nothing /x\nRUN y", "there is no nothing in the habitat's folder"),
    "a group": ("FROM base:1\nUSER 5:6\nRUN x\nUSER root\nRUN y", "it runs as 5:6, and a config gives no group"),
}


@pytest.mark.parametrize(("text", "why"), STAYS.values(), ids=STAYS)
def test_migrate_inexpressible_instruction_keeps_dockerfile_up_to_that_line(
    demo: DemoProject, text: str, why: str
) -> None:
    demo.engine.add_image("base-amd64:1")
    draft = migrated(demo, text)
    config = config_of(draft)
    assert why in [row.why for row in draft.rows]
    assert config["dockerfile"] == "Dockerfile.rest"
    assert "base_image" not in config
    kept, rest = text.splitlines(), draft.rest.splitlines()[1:]
    assert rest == kept[: len(rest)]
    assert str(config["setup"]).count("y") == 1
    assert "y" not in kept[len(rest) - 1].split()


# What an image brings beyond files, variables, user, folder and command

BASH = ("/bin/bash", "-o", "pipefail", "-c")


def test_migrate_shell_of_base_image_runs_scripts(demo: DemoProject) -> None:
    demo.engine.add_image("base:1", command=("serve",), shell=BASH)
    assert carried(demo, "RUN a; b\nCMD c | d\nHEALTHCHECK CMD [[ -f /x ]]") == {
        **root("exec /bin/bash -o pipefail -c 'a; b'"),
        **command("exec /bin/bash -o pipefail -c 'c | d'"),
    }
    assert carried(demo, 'SHELL ["/bin/sh", "-c"]\nRUN a') == {**root("a"), **command("exec serve")}
    shown = migrated(demo, "FROM base:1\nHEALTHCHECK CMD [[ -f /x ]]\n").config
    assert "#   ready: /bin/bash -o pipefail -c '[[ -f /x ]]'\n" in shown


def test_migrate_shell_of_earlier_stage_runs_scripts(demo: DemoProject) -> None:
    draft = migrated(demo, 'FROM base:1 AS s\nSHELL ["/bin/bash", "-c"]\nFROM s\nRUN a\n')
    assert config_of(draft)["setup"] == {"root": ["exec /bin/bash -c a"]}


def test_migrate_onbuild_of_base_image_stays_in_dockerfile(demo: DemoProject) -> None:
    demo.engine.add_image("base:1", command=("serve",), on_build=("WORKDIR /app", "ENV A=1", "COPY . ."))
    draft = migrated(demo, "FROM base:1\nRUN a\n")
    assert [(row.place, row.why) for row in draft.rows] == [
        ("Dockerfile.rest", "its image has ONBUILD, which only docker build runs"),
        ("setup.root[0]", ""),
    ]
    config = config_of(draft)
    assert "WORKDIR=/app" in config["env"]
    assert config["setup"] == {"root": ["a"]}


VOLUMES: dict[str, tuple[str, list[int]]] = {
    "copied to": ("COPY Dockerfile /data/x\nRUN a", [2]),
    "copied below by a variable": ("ARG D=/data\nCOPY Dockerfile $D/x/y\nRUN a", [3]),
    "copied beside": ("COPY Dockerfile /data2/x\nRUN a", []),
    "written by a RUN": ("RUN echo >/data/x\nRUN a", [2]),
    "in the folder of a RUN": ("WORKDIR /data/x\nRUN echo >x\nWORKDIR /\nRUN a", [3]),
    "not named": ("RUN a", []),
}


@pytest.mark.parametrize(("lines", "expected"), VOLUMES.values(), ids=VOLUMES)
def test_migrate_write_to_volume_of_base_image_stays_in_dockerfile(
    demo: DemoProject, lines: str, expected: list[int]
) -> None:
    demo.engine.add_image("base:1", volumes=("/data",))
    rows = migrated(demo, f"FROM base:1\n{lines}\n").rows
    assert [row.line for row in rows if row.why == "phases keep nothing in /data, a VOLUME of the image"] == expected


def test_migrate_kept_lines_have_no_volume(demo: DemoProject) -> None:
    """Else what setup writes there would be in no image."""
    draft = migrated(demo, "FROM base:1\nVOLUME /a \\\n  /b\nRUN --mount=type=bind a\n")
    assert draft.rest.splitlines()[1:] == ["FROM base:1", "# VOLUME /a \\", "#   /b", "RUN --mount=type=bind a"]
    assert [(row.line, row.place) for row in draft.rows][1:] == [(2, ""), (4, "Dockerfile.rest")]


def test_migrate_last_healthcheck_counts(demo: DemoProject) -> None:
    draft = migrated(demo, "FROM base:1\nHEALTHCHECK CMD a\nHEALTHCHECK --interval=5s CMD b\n")
    assert ("ready: a" in draft.config, "ready: b" in draft.config) == (False, True)
    assert [row.why for row in draft.rows][1:] == ["line 3 replaces it", "as a comment"]
    none = migrated(demo, "FROM base:1\nHEALTHCHECK CMD a\nHEALTHCHECK NONE\n")
    assert "ready" not in none.config
    assert [row.why for row in none.rows][1:] == ["line 3 replaces it", "a habitat runs no health check"]


#: The lines of a Dockerfile behind `FROM base:1` that end with USER dev, and those of its RUNs that create dev.
CREATORS: dict[str, tuple[str, list[int]]] = {
    "useradd": ("RUN a\nRUN useradd -m dev\nRUN b\nUSER dev", [3]),
    "another user first": ("RUN useradd app\nUSER app\nRUN a\nUSER root\nRUN useradd dev\nUSER dev", [6]),
    "another user later": ("RUN useradd dev\nRUN useradd app\nUSER dev", [2]),
    "USER before RUN": ("USER dev\nUSER root\nRUN useradd dev\nUSER dev\nRUN a", [4]),
    "named after its first use": ("RUN useradd dev\nUSER dev\nRUN a\nUSER root\nRUN chown dev /a\nUSER dev", [2]),
    "named between": ("RUN useradd dev\nRUN chown dev /a\nUSER dev\nRUN a", [2]),
    "a variable": ("ARG NAME=dev\nRUN useradd -m ${NAME}\nUSER $NAME\nRUN chown dev /a\nRUN a", [3]),
    "a quoted variable": ('ENV NAME=dev\nRUN groupadd "$NAME" && useradd -g $NAME "$NAME"\nRUN a\nUSER $NAME', [3]),
    "options behind the name": ('RUN adduser dev --disabled-password --gecos ""\nRUN chown dev /a\nUSER dev', [2]),
    "addgroup and adduser": ("RUN addgroup -S dev\nRUN adduser -S dev -G dev\nRUN a\nUSER dev:dev", [3]),
    "its group later": ("RUN useradd -g users dev\nRUN groupadd dev\nRUN a\nUSER dev", [3]),
    "added to a group": ("RUN adduser -D dev\nRUN addgroup dev audio\nRUN a\nUSER dev", [2]),
    "member of its group": ("RUN mk dev\nRUN useradd -G dev app\nRUN a\nUSER dev", [3]),
    "an error ignored": ("RUN adduser -D dev 2>/dev/null || true\nRUN id dev\nUSER dev", [2]),
    "exec form": ('RUN ["useradd", "-m", "dev"]\nRUN ["chown", "dev", "/a"]\nUSER dev', [2]),
    "a document": ("RUN <<E\nuseradd dev\nE\nRUN chown dev /a\nUSER dev", [2]),
    "lines": ("RUN useradd \\\n  -m \\\n  dev\nRUN chown dev /a\nUSER dev", [2]),
    "renamed": ("RUN groupadd dev\nRUN usermod -l dev node\nRUN a\nUSER dev", [3]),
    "copied to": ("RUN mk\nCOPY --chown=dev Dockerfile /a\nRUN a\nUSER dev", [2]),
    "unnamed": ("RUN mk\nUSER dev\nRUN a\nUSER root\nRUN b\nUSER dev", [2]),
    "no RUN before its first use": ("USER dev\nRUN a\nUSER root\nRUN chown dev /a\nUSER dev", []),
}


@pytest.mark.parametrize(("lines", "expected"), CREATORS.values(), ids=CREATORS)
def test_migrate_run_that_creates_user_stays_in_dockerfile(demo: DemoProject, lines: str, expected: list[int]) -> None:
    rows = migrated(demo, f"FROM base:1\n{lines}\n").rows
    assert [row.line for row in rows if row.why.startswith("it may create dev")] == expected


# A final USER that is a number, and accounts that RUNs create

#: A Dockerfile behind `FROM base:1`, whose users are root, www-data (33) and node (1000); USER of the habitat, and what
#: runs as it; and the lines that stay in Dockerfile.rest for a reason.
NUMBERS: dict[str, tuple[str, str, list[int]]] = {
    "the base names it": ("RUN a\nUSER 1000\nRUN b", "node", []),
    "with its group": ("USER 1000:1000\nRUN b", "node", []),
    "with its group's name": ("USER 33:www-data\nRUN b", "www-data", []),
    "with leading zeros": ("USER 001000\nRUN b", "node", []),
    "by a variable": ("ARG UID=1000\nUSER $UID\nRUN b", "node", []),
    "a RUN creates it by number": ("RUN useradd -mu 1234 dev\nUSER 1234\nRUN b", "dev", [2]),
    "by a long option": ("RUN useradd --uid=1234 --create-home dev\nUSER 1234\nRUN b", "dev", [2]),
    "by a variable of both": ("ARG UID=1234 U=dev\nRUN useradd -u $UID ${U}\nUSER $UID\nRUN b", "dev", [3]),
    "by adduser": ("RUN adduser --disabled-password --gecos 'A B' --uid 1234 dev\nUSER 1234\nRUN b", "dev", [2]),
    "by busybox": ("RUN addgroup -g 7 g && adduser -D -G g -u 1234 dev\nUSER 1234:g\nRUN b", "dev", [2]),
    "as the next number": ("RUN useradd dev\nUSER 1001\nRUN b", "dev", [2]),
    "as the second of two": ("RUN useradd other\nRUN useradd dev\nUSER 1002\nRUN b", "dev", [3]),
    "after its user was removed": ("RUN userdel -r node && useradd -u 1000 dev\nUSER 1000\nRUN b", "dev", [2]),
    "renamed": ("RUN usermod -l dev -md /home/dev node\nUSER 1000\nRUN b", "dev", [2]),
    "given another number": ("RUN usermod -u 1234 node\nUSER 1234\nRUN b", "node", []),
    "as a row of passwd": ("RUN echo 'dev:x:1234:0::/home/dev:/bin/sh' >>/etc/passwd\nUSER 1234\nRUN b", "dev", [2]),
    "in a condition": ("RUN if ! id dev; then useradd -u 1234 dev; fi\nUSER 1234\nRUN b", "dev", [2]),
    "in an earlier stage": ("RUN useradd -u 1234 dev\nFROM s\nUSER 1234\nRUN b", "dev", [3]),
}


@pytest.fixture
def node(demo: DemoProject) -> DemoProject:
    """The same with a base that has the user node with the number 1000."""
    rows = ["root:x:0:0::/root:/bin/sh", "www-data:x:33:33::/var/www:/bin/sh", "node:x:1000:1000::/home/node:/bin/sh"]
    files = demo.engine.files(demo.base)
    files.write("/etc/passwd", "\n".join(rows))
    files.write("/etc/group", "root:x:0:\nwww-data:x:33:\nnode:x:1000:\n")
    return demo


#: `str.isdigit` is true for the first two, which are no numbers, and Python reads no number as long as the third.
NO_NUMBERS = ["²", "①", "9" * 5000]


@pytest.mark.parametrize("text", NO_NUMBERS, ids=["superscript", "circled", "long"])
@pytest.mark.parametrize(
    "line",
    [
        "RUN useradd -u {} dev",
        "RUN adduser --uid={} dev",
        "RUN groupadd -g {} dev",
        "RUN usermod -u {} node",
        "RUN echo 'dev:x:{}:{}::/home/dev:/bin/sh' >> /etc/passwd",
        "USER {}",
        "USER dev:{}",
        "COPY --chown={} a /a",
        "RUN echo a {}> /a",
    ],
)
def test_migrate_digit_that_is_no_number_is_a_name_or_unknown(demo: DemoProject, line: str, text: str) -> None:
    write(demo.root, "habitats/demo/a", "x")
    try:
        draft = migrated(demo, f"FROM base:1\n{line.replace('{}', text)}\nUSER node\nRUN b\n")
    except HabitatError:
        return
    assert {row.line for row in draft.rows} == {1, 2, 3, 4}


@pytest.mark.parametrize(("lines", "user", "kept"), NUMBERS.values(), ids=NUMBERS)
def test_migrate_number_as_final_user_becomes_user_of_that_number(
    node: DemoProject, lines: str, user: str, kept: list[int]
) -> None:
    draft = migrated(node, f"FROM base:1 AS s\n{lines}\n")
    config = config_of(draft)
    assert f"USER={user}" in config["env"]
    assert "uid" not in config
    assert [body for body in config["setup"]["user"] if body.split()[-1] == "b"]
    makers = [row.line for row in draft.rows if row.why.startswith(("it may create", "it builds on"))]
    assert makers == kept


def test_migrate_number_without_user_becomes_uid(node: DemoProject) -> None:
    draft = migrated(node, "FROM base:1\nRUN useradd -r app\nUSER 10001\nRUN b\nUSER root\nRUN c\nUSER 10001:0\n")
    config = config_of(draft)
    assert config["uid"] == 10001
    assert not [entry for entry in config["env"] if entry.startswith("USER=")]
    assert [(row.line, row.place, row.why) for row in draft.rows if row.why and row.line != 5] == [
        (4, "Dockerfile.rest", "it runs as 10001, a number that phase users may give to USER"),
        (7, "uid", "no user of the image has the number; USER gets it"),
    ]
    assert config["setup"] == {"root": ["c"]}


def test_migrate_account_created_beside_new_user_stays_in_dockerfile(demo: DemoProject) -> None:
    """Phase users would give the next number, 1000, to USER."""
    draft = migrated(demo, "FROM base:1\nRUN useradd -u 1000 dev\nRUN a\n", "env: [USER=me]\n")
    assert [row.why for row in draft.rows if row.line == 2] == [
        "it creates an account, and phase users would take its number"
    ]
    assert config_of(draft)["setup"] == {"root": ["cd /\na\n"]}


# What has to come before a phase

#: The lines of a Dockerfile behind `FROM base:1`, and the points and scripts of its hooks, and those of its files.
EARLY: dict[str, tuple[str, list[tuple[str, str]], list[tuple[str, str]]]] = {
    "the RUN that creates USER, and all before": (
        "RUN a\nRUN useradd dev\nUSER dev\nRUN b",
        [("before users", "a"), ("before users", "useradd dev")],
        [],
    ),
    "what it copies before": (
        "COPY a /x\nRUN useradd dev\nUSER dev",
        [("before users", "useradd dev")],
        [("before users", "/x")],
    ),
    "what it copies between": (
        "RUN a\nCOPY a /x/a\nRUN useradd dev\nUSER dev",
        [("after base", "a"), ("before users", "useradd dev")],
        [("before users", "/x/a")],
    ),
    "what it copies behind": (
        "RUN useradd dev\nCOPY a /x/a\nUSER dev",
        [("before users", "useradd dev")],
        [("", "/x/a")],
    ),
    "in its folder": (
        "WORKDIR /w\nRUN a\nRUN useradd dev\nUSER dev",
        [("before users", "mkdir -p /w"), ("before users", "cd /w\na\n"), ("before users", "cd /w\nuseradd dev\n")],
        [],
    ),
    "with variables of env": (
        "ENV A=1\nRUN useradd dev\nENV B=2\nUSER dev",
        [("before users", "export A=1\nuseradd dev\n")],
        [],
    ),
    "the RUN that creates WORKDIR": (
        "RUN a\nRUN cp -r /a /w\nWORKDIR /w\nRUN b",
        [("before workdir", "a"), ("before workdir", "cp -r /a /w")],
        [],
    ),
    "with variables of env before WORKDIR": (
        "ENV A=1\nRUN cp -r /a /w\nENV B=2\nENV A=3\nWORKDIR /w",
        [("before workdir", "unset B\nexport A=1\ncp -r /a /w\n")],
        [],
    ),
    "both": (
        "RUN useradd dev\nUSER dev\nRUN a\nUSER root\nRUN cp -r /a /w\nWORKDIR /w\nUSER dev\nRUN b",
        [("before users", "useradd dev"), ("before workdir", "a"), ("before workdir", "cp -r /a /w")],
        [],
    ),
    "files four times before WORKDIR": (
        "COPY a /1/a\nRUN a\nCOPY a /2/a\nRUN a\nCOPY a /3/a\nRUN a\nCOPY a /4/a\nRUN cp -r /a /w\nWORKDIR /w",
        [("after users", "a"), ("before env", "a"), ("after env", "a"), ("before workdir", "cp -r /a /w")],
        [("after users", "/1/a"), ("before env", "/2/a"), ("after env", "/3/a"), ("before workdir", "/4/a")],
    ),
}


def point_of(entry: dict[str, Any]) -> str:
    return next((f"{when} {entry[when]}" for when in ("before", "after") if when in entry), "")


@pytest.mark.guarantee("migrated-habitat-equals-dockerfile")
@pytest.mark.parametrize(("lines", "hooks", "copied"), EARLY.values(), ids=EARLY)
def test_migrate_what_has_to_come_before_a_phase_becomes_hooks(
    files: DemoProject, lines: str, hooks: list[tuple[str, str]], copied: list[tuple[str, str]]
) -> None:
    draft = migrated(files, f"FROM base:1\n{lines}\n")
    config = config_of(draft)
    assert config["dockerfile"] is False
    blocks = config["hooks"]
    assert [(point_of(block), script) for block in blocks for script in block["commands"]] == hooks
    assert [(point_of(entry), entry["dest"]) for entry in config.get("files", ())] == copied
    places = [row.place for row in draft.rows if row.place.startswith("hooks")]
    assert len(places) == len(hooks)
    load(files.root, draft.config)


def test_migrate_scripts_and_files_that_alternate_too_often_before_a_phase_stay(files: DemoProject) -> None:
    rows = migrated(files, "FROM base:1\nRUN a\nCOPY a /1/a\nRUN b\nCOPY a /2/a\nRUN useradd dev\nUSER dev\n").rows
    assert [(row.line, row.why) for row in rows if row.place == "Dockerfile.rest" and row.why] == [
        (5, "scripts and files alternate too often before phase users")
    ]
    assert [row.place for row in rows if row.line == 6] == ["hooks[0].commands[0]"]


def test_migrate_cache_and_secret_before_a_phase_stay_in_dockerfile(demo: DemoProject) -> None:
    for mount in ("type=cache,target=/c", "type=secret,id=x"):
        draft = migrated(demo, f"FROM base:1\nRUN --mount={mount} a\nRUN useradd dev\nUSER dev\n")
        why = "it comes before a phase, and only setup has its caches and secrets"
        assert [row.line for row in draft.rows if row.why == why] == [2]


OWN_VARIABLES: dict[str, tuple[str, list[str]]] = {
    "HOME later": ("RUN a\nENV HOME=/x\nRUN b", ["export HOME=/root\na\n", "export HOME=/x\nb\n"]),
    "HOME later, another user": ("USER node\nRUN a\nENV HOME=/x\nUSER root", ["export HOME=/home/node\na\n"]),
    "HOME later, a number": ("USER 7\nRUN a\nENV HOME=/x\nUSER root", ["export HOME=/\na\n"]),
    "HOME for one command": ("ENV HOME=/x\nRUN a\nENV HOME=/y", ["export HOME=/x\na\n"]),
    "HOME as it is": ("RUN a\nENV HOME=/root\nRUN b", ["a", "b"]),
    "USER is another": ("ENV USER=app\nRUN a", ["export USER=app\na\n"]),
    "WORKDIR is the same": ("ENV WORKDIR=/w\nWORKDIR $WORKDIR\nRUN a", ["a"]),
    "WORKDIR is another": ("ENV WORKDIR=/v\nRUN a", ["export WORKDIR=/v\na\n"]),
    "SHELL, which setup may set": ("ENV SHELL=/bin/zsh\nRUN a", ["export SHELL=/bin/zsh\na\n"]),
}


@pytest.mark.parametrize(("lines", "expected"), OWN_VARIABLES.values(), ids=OWN_VARIABLES)
def test_migrate_variables_that_setup_sets_keep_their_values(
    node: DemoProject, lines: str, expected: list[str]
) -> None:
    setup = config_of(migrated(node, f"FROM base:1\n{lines}\n"))["setup"]
    scripts_of = [block["commands"] for block in setup] if isinstance(setup, list) else list(setup.values())
    assert [script for block in scripts_of for script in block] == expected


def test_migrate_empty_command_is_no_command(demo: DemoProject) -> None:
    for lines in ("ENTRYPOINT []\nCMD []", "CMD []", "ENTRYPOINT []"):
        draft = migrated(demo, f"FROM base:1\nRUN a\n{lines}\n")
        assert "entry" not in config_of(draft)
    assert config_of(migrated(demo, 'FROM base:1\nENTRYPOINT ["a"]\nENTRYPOINT []\nCMD ["b"]\n'))["entry"] == {
        "command": "exec b"
    }


WORKDIRS: dict[str, tuple[str, list[int]]] = {
    "by a variable": ("ENV APP=/w\nRUN cp -r /v $APP\nWORKDIR $APP\nRUN a", [3]),
    "a home": ("ARG U=dev\nRUN useradd -m $U\nWORKDIR /home/${U}\nRUN a", [3]),
    "in a home": ("ARG U=dev\nRUN useradd -m $U\nRUN a\nWORKDIR /home/$U/app\nRUN a", [3]),
    "in a home of another path": ("RUN useradd -md /srv/dev dev\nWORKDIR /srv/dev/app", [2]),
    "a home before its user": ("ARG U=dev\nWORKDIR /home/${U}\nRUN useradd -m $U\nRUN a", []),
    "a folder of the same RUN": ("RUN cd /opt && ln -s tool-1 tool\nWORKDIR /opt/tool\nRUN a", [2]),
    "relative to another": ("WORKDIR /opt\nRUN mv x tool\nWORKDIR tool\nRUN a", [3]),
    "a repository": ("RUN cd /opt && git clone https://example.org/tool.git\nWORKDIR /opt/tool\nRUN a", [2]),
    "an archive": ("RUN tar xf /tool-1.2.tar.gz -C /opt\nWORKDIR /opt/tool-1.2\nRUN a", [2]),
    "a folder above it": ("RUN mv /tmp/x /opt/tool\nWORKDIR /opt/tool/bin\nRUN a", [2]),
    "a part of another word": ("RUN apt-get install apparmor\nWORKDIR /app\nRUN a", []),
    "used before": ("WORKDIR /w/x\nRUN mkdir -p /w\nWORKDIR /w\nRUN a", []),
}


@pytest.mark.parametrize(("lines", "expected"), WORKDIRS.values(), ids=WORKDIRS)
def test_migrate_run_that_creates_workdir_otherwise_stays_in_dockerfile(
    demo: DemoProject, lines: str, expected: list[int]
) -> None:
    rows = migrated(demo, f"FROM base:1\n{lines}\n").rows
    assert [row.line for row in rows if row.why.startswith("it may create /")] == expected


#: RUNs before `WORKDIR /srv/work`, and their scripts; "" for one that stays, since it may depend on the missing folder.
BEFORE_WORKDIR: dict[str, tuple[str, str]] = {
    "mkdir": ("mkdir /srv/work && chown www-data /srv/work", "mkdir -p /srv/work && chown www-data /srv/work"),
    "mkdir -p": (
        "mkdir -p /srv/work/a '/srv/work/b c' /x; ls /srv/work",
        "mkdir -p /srv/work/a '/srv/work/b c' /x; ls /srv/work",
    ),
    "of a relative path": ("cd /srv && mkdir work", "cd /srv && mkdir -p work"),
    "with a redirection": (
        "mkdir -vp /srv/work && echo a >/srv/work/a 2>&1",
        "mkdir -vp /srv/work && echo a >/srv/work/a 2>&1",
    ),
    "a user's name": ("useradd -r work && echo work:x | chpasswd", "useradd -r work && echo work:x | chpasswd"),
    "a user with that home": ("useradd -md /srv/work dev", ""),
    "a user whose home it is in": ("useradd --home-dir=/srv/work --create-home dev", ""),
    "with a mode": ("mkdir -p -m 700 /srv/work", ""),
    "with a mode in letters": ("mkdir -pm700 /srv/work", ""),
    "with an umask": ("umask 077 && mkdir -p /srv/work", ""),
    "mkdir that may fail": ("mkdir /srv/work || touch /existed", ""),
    "a test": ("[ -d /srv/work ] || touch /none", ""),
    "a copy": ("cp -r /etc /srv/work", ""),
    "a shell in a shell": ("sh -c 'mkdir /srv/work'", ""),
    "a pattern": ("mkdir -p /srv/work && chown www-data /srv/work*", ""),
    "of a command's output": ("mkdir -p $(echo /srv/work)", ""),
    "an open quote": ("echo \"it's\" && mkdir -p /srv/work # it's", ""),
}


@pytest.mark.parametrize(("script", "expected"), BEFORE_WORKDIR.values(), ids=BEFORE_WORKDIR)
def test_migrate_run_that_needs_no_missing_workdir_becomes_script(
    demo: DemoProject, script: str, expected: str
) -> None:
    draft = migrated(demo, f"FROM base:1\nRUN a\nRUN {script}\nWORKDIR /srv/work\nRUN b\n")
    scripts_of = config_of(draft)["setup"]["root"]
    assert [one.splitlines()[-1] for one in scripts_of] == ["a", expected, "b"] if expected else ["b"]


def test_migrate_run_of_another_user_that_makes_folders_above_workdir_stays(demo: DemoProject) -> None:
    """Phase workdir makes them as root."""
    draft = migrated(demo, "FROM base:1\nUSER 7\nRUN mkdir -p /tmp/a/work\nUSER root\nWORKDIR /tmp/a/work\nRUN b\n")
    assert [row.line for row in draft.rows if row.why.startswith("it may create /tmp/a/work")] == [3]


def test_migrate_here_documents_are_written_literally(demo: DemoProject, tmp_path: Path) -> None:
    place = tmp_path / "out"
    text = f"""\
FROM base:1
ARG A='x  y'
COPY --chmod=640 <<E <<-"F" {place}/in/
$A "q" ${{A}}s \\$A
END
E
\tone $A
F
RUN <<E
#!/usr/bin/env -S sh -e
echo "$A" >{place}/ran; false; echo no >{place}/ran
E
"""
    written, program = config_of(migrated(demo, text))["setup"]["root"]
    assert _shell("/bin/sh", "-e", "-c", "--", written, "sh")[0] == 0
    assert (place / "in/E").read_text() == 'x  y "q" x  ys $A\nEND\n'
    assert (place / "in/F").read_text() == "one $A\n"
    assert (place / "in/E").stat().st_mode & 0o777 == 0o640
    assert _shell("/bin/sh", "-e", "-c", "--", program, "sh")[0] != 0
    assert (place / "ran").read_text() == "x  y\n"


@pytest.mark.guarantee("migrated-habitat-equals-dockerfile")
def test_migrate_report_lists_every_line_with_key_or_reason(demo: DemoProject) -> None:
    text = "ARG A=1\nFROM base:1\nLABEL a=b\nMAINTAINER m\nSTOPSIGNAL INT\nVOLUME /v\nONBUILD RUN x\nEXPOSE 80\n"
    text += "HEALTHCHECK CMD curl x\nENV USER=x\nARG API_TOKEN=x\nUSER 77\n"
    draft = migrated(demo, text)
    assert [row.line for row in draft.rows] == list(range(1, 13))
    assert [row.line for row in draft.rows if not row.place] == [3, 4, 5, 6, 7, 10]
    assert all(row.why for row in draft.rows if not row.place)
    assert "#   ports: [80]\n" in draft.config
    assert "#   ready: curl x\n" in draft.config
    assert draft.warnings == (
        "line 11: API_TOKEN looks like a secret and ends up in the image; use `secrets:` instead",
    )


def test_migrate_comments_stay_with_their_instructions(demo: DemoProject) -> None:
    draft = migrated(demo, "FROM base:1\n# The first.\n# It matters.\nRUN a\n# Read by b.\nENV A=1\n").config
    assert "    # The first.\n    # It matters.\n    - |\n      unset A\n      a\n" in draft
    assert "  # Read by b.\n  - A=1\n" in draft


def test_migrate_build_argument_is_used_as_value(demo: DemoProject) -> None:
    text = "ARG TAG=0\nFROM base:$TAG\nARG A\nRUN --mount=type=bind a\nRUN b\n"
    draft = migrated(demo, text, TAG="1", A='x "y" $z')
    assert draft.rest.splitlines()[1:4] == ['ARG TAG="1"', "FROM base:$TAG", 'ARG A="x \\"y\\" \\$z"']
    assert config_of(draft)["setup"] == {"root": ["export A='x \"y\" $z'\nb\n"]}


# A config that is there


@pytest.mark.guarantee("migration-loses-nothing")
def test_migrate_keeps_values_and_comments_of_existing_config(demo: DemoProject) -> None:
    text = """\
        # Mine.
        description: kept   # as it is
        env:
          # Told.
          - WORKDIR=/here
        setup:
          user:
            - last   # of all
        """
    draft = migrated(demo, 'FROM base:1\nENV A=1\nRUN first\nWORKDIR /there\nUSER x\nCMD ["a"]\n', text)
    assert config_of(draft) == {
        "description": "kept",
        "base_image": "base:1",
        "dockerfile": False,
        "env": ["A=1", "WORKDIR=/here"],
        "setup": {"root": ["cd /\nfirst\n"], "user": ["last"]} | {"root": ["cd /\nfirst\n", "mkdir -p /there"]},
    }
    for comment in ("# Mine.\n", "# as it is\n", "  # Told.\n", "# of all\n"):
        assert comment in draft.config


def test_migrate_with_files_in_config_runs_scripts_before_them(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/x")
    draft = migrated(demo, "FROM base:1\nRUN a\nENV B=1\n", "files:\n  - {source: x, dest: /x}\n")
    assert config_of(draft)["hooks"] == [{"run_as": "root", "after": "habitat", "commands": ["cd /\nunset B\na\n"]}]
    assert "the config's files and volumes come after it" in [row.why for row in draft.rows]
    assert "setup" not in config_of(draft)


def test_migrate_alternating_users_with_shared_setup_mapping_become_hooks(demo: DemoProject) -> None:
    write(demo.root, "shared/config.yaml", "setup: {root: [x]}\n")
    draft = migrated(demo, "FROM base:1\nUSER 7\nRUN a\nUSER root\nRUN b\nENV C=1\n")
    config = config_of(draft)
    assert "setup" not in config
    assert config["hooks"] == [
        {"run_as": "7", "before": "setup", "commands": ["unset C\na\n"]},
        {"run_as": "root", "before": "setup", "commands": ["unset C\nb\n"]},
    ]
    assert [row.place for row in draft.rows if row.text.startswith("RUN")] == [
        "hooks[0].commands[0]",
        "hooks[1].commands[0]",
    ]


def test_migrate_legacy_keys_are_renamed_with_their_comments(demo: DemoProject) -> None:
    text = """\
        base_image: base:1
        # What to work on.
        repositories:
          - {url: https://example.org/a, path: a}   # the one
        container:
          work_dir: /src
          init_command: /sbin/boot   # theirs
          startup_delay: 10
          odd: 1
        claude:
          command: claude
        """
    write(demo.root, "habitats/demo/config.yaml", text)
    draft = migrate_command.migrate(demo.run_anew(), "demo", {})
    assert draft
    config = config_of(draft)
    assert config["entry"] == {"init_command": "/sbin/boot", "startup_delay": 10, "command": "claude"}
    assert config["env"] == ["WORKDIR=/src"]
    assert config["repos"][0]["path"] == "a"
    for comment in ("# What to work on.\nrepos:\n", "# the one\n", "# theirs\n"):
        assert comment in draft.config
    assert [(row.text, row.place or row.why) for row in draft.legacy_rows] == [
        ("repositories", "repos"),
        ("container.work_dir", "env.WORKDIR"),
        ("container.init_command", "entry.init_command"),
        ("container.startup_delay", "entry.startup_delay"),
        ("container.odd", "entry has no such key"),
        ("claude.command", "entry.command"),
    ]
    migrate_command.write(demo.project, draft)
    assert (demo.root / "habitats/demo/config.yaml.before-migration").read_text().startswith("base_image")
    assert migrate_command.migrate(demo.run_anew(), "demo", {}) is None


def test_migrate_backup_of_config_is_kept_and_not_copied_into_image(demo: DemoProject) -> None:
    draft = migrated(demo, "FROM base:1\nRUN --mount=type=bind a\nRUN b\n", "description: x\n")
    migrate_command.write(demo.project, draft)
    folder = demo.root / "habitats/demo"
    assert (folder / "config.yaml.before-migration").read_text() == "description: x\n"
    habitat = load(demo.root)
    assert [item.path for item in copied_files.layer_tree(habitat, habitat.layer("local"))] == [""]
    context = copied_files.dockerfile_context(habitat)
    assert [item.path for item in context.items] == ["", "Dockerfile.rest"]
    assert context.dockerfile.source == folder / "Dockerfile.rest"


def test_migrate_base_image_not_pullable_is_one_line_error(demo: DemoProject) -> None:
    with pytest.raises(HabitatError, match=r"^habitats/demo/Dockerfile:1: nowhere:1 can't be pulled \("):
        migrated(demo, "FROM nowhere:1\n")


# Scripts, literally

#: Of few signs each, so that most examples say something: what fails and goes on, and what is cut into lines.
_FAILS = st.lists(
    st.sampled_from(["false", "true", "echo a", ";", ";", "&&", "||", "! ", "$(false; echo b)"]), max_size=6
)
_ODD = st.sampled_from(
    ["a", "  ", "#", " # ", "'", '"', "\\", "\\$X", "`echo f`", "$(echo 'd  e')", "ü", "\t", "\\\n# in\n"]
)
_CUT = st.sampled_from(["\\\n", " \\\n  ", "\\ \n\n\t"])
_QUOTED = st.builds(
    lambda quote, before, cut, after: f"{quote}{before}{cut}{after}{quote}",
    st.sampled_from(["'", '"', ""]),
    _ODD,
    _CUT,
    _ODD,
)
_BREAKS = st.lists(_ODD | _QUOTED, max_size=4).map(lambda parts: ["echo ", *parts])
_PARTS = _FAILS | _BREAKS


def _shell(*argv: str) -> tuple[int, bytes]:
    env = {"PATH": "/bin:/usr/bin", "X": "1  2"}
    result = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    return result.returncode, result.stdout


@pytest.mark.guarantee("migrated-habitat-equals-dockerfile")
@settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(_PARTS, st.booleans())
def test_migrate_run_instruction_behaves_equally_in_setup(parts: list[str], tight: bool) -> None:
    text = f"FROM base:1\nRUN {('' if tight else ' ').join(parts)}\n"
    try:
        instruction = dockerfile.parse(text, "Dockerfile").stages[0].instructions[0]
    except (HabitatError, IndexError):
        return
    if instruction.heredocs or instruction.is_json:
        return
    written = scripts.script(instruction, BuildState(), {}, "/")
    code, out = _shell("/bin/sh", "-c", *instruction.args)
    again, other = _shell("/bin/sh", "-e", "-c", "--", written, "sh")
    assert (again == 0, other) == (code == 0, out), written
