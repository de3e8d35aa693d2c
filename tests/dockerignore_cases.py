"""What `docker build` puts into an image, for many .dockerignore files and one tree.

`python tests/dockerignore_cases.py` writes it to dockerignore.json. It builds each case with the first `docker` on the
PATH and without BuildKit, since such a client filters the context by itself, with the matcher of its own version. The
recorded data are of client 28.2. An engine's own BuildKit may have an older matcher.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

RECORDED = Path(__file__).parent / "dockerignore.json"

TREE = (
    *("Dockerfile", "Dockerfile.dev", "README.md", "keep.md", ".env", "a.env", "x.log", "b.txt", "a.txt", "é.txt"),
    *("sub/.env", "sub/a.txt", "sub/x.log", "sub/deep/.env", "sub/deep/x.env", "sub/deep/x.log", "sub/sub/sub/f"),
    *("src/main.py", "src/lib/m.py", "src/lib/keep.md", "node_modules/p/q/i.js", ".git/config", "e2/e3/f"),
    *("temp", "temper", "a1", "b1", "aa", "[x]", "x!y", "!bang", "#c", "a|b", "{a,b}.txt", "a+b", "a(b)", "a$b"),
    *("sp ace", "back\\slash", "a^b", "a{2}"),
)
FOLDER = "empty"
LINK = ("ln", "sub")
TAG = "habtest-dockerignore:recorded"

CASES = (
    *("", "**.env", "**.log", "**/.env", "*.env", "*/*.log", "*/**/x.log", "**/*.log\n!sub/deep/*.log"),
    *("sub", "sub/", "/sub", "./sub", "sub/../temp", "../temp", "/../temp", "//temp", "sub//deep", "sub/./deep"),
    *("sub/*", "sub/**", "sub/**/x.log", "sub/*/x.log", "sub/deep\n!sub/deep/x.env", "sub\n!sub/deep"),
    *("**", "**/", "*", "*/", "**/**", "***", ".", "..", "/", "temp/", "temp/*", "temp/**", "a.txt/.."),
    *("*\n!src", "*\n!src/", "*\n!src/lib/keep.md", "*\n!**/keep.md", "**\n!**/keep.md", "*\n!s*/main.py"),
    *("*\n!src/**", "*\n!src/*/keep.md", "*\n!empty", "*\n!e2/e3", "*\n!.", "**/keep.md\n!keep.md"),
    *("sub\n!sub/deep/x.log\nsub/deep", "sub\n!**/x.log", "!sub/x.log\nsub", "s*\n!sub/a.txt"),
    *(
        "temp?",
        "tem?",
        "?1",
        "[ab]*",
        "[^ab]*",
        "[a-c].txt",
        "[!a]*",
        r"\[x\]",
        "[[]x]",
        "?.txt",
        "é*",
        "*.txt\n!a.txt",
    ),
    *("  temp  ", "\ttemp\t", "#c", " #c", r"\#c", "!bang", r"\!bang", "**\n!!bang", "! keep.md", "b.txt #comment"),
    *(
        "a|b",
        "{a,b}*",
        "{a,b}.txt",
        "a{2}",
        "a^b",
        "a+b",
        "a+*",
        "a(b)",
        "a(*",
        "a$*",
        r"back\\slash",
        r"x\!y",
        r"a\|*",
    ),
    *(
        "sp ace",
        "node_modules/**/*.js",
        "**/deep",
        "**/deep/",
        "**/deep/**",
        "**deep",
        "su**",
        "su**/x.log",
        "s**x.log",
    ),
    *("**/sub/sub", "sub/sub/**\n!sub/sub/sub", "ln", "ln/x.log", "empty", "a*b", ".*", ".*\n!.env", "*.*", "**/.*"),
    *("*.md\n!README*.md", "Dockerfile", ".dockerignore", "Dockerfile\n.dockerignore", "*\n!Dockerfile", "Dockerfile*"),
    *("\ufefftemp", "temp\r\na.txt\r", "temp\r\n\r\n!temp", "**/*.{txt,md}", "*.(txt*"),
    # What docker refuses
    *("[", "[]", "[]a]", "[^]", "[a", "a[", "[b-a]", "\\", "a\\", "!", "!/", "[a-]*", "[-a]*"),
)


def lay_out(root: Path, patterns: str, dockerfile: str) -> None:
    """Write the tree, with a .dockerignore."""
    for name in TREE:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dockerfile if path.name == "Dockerfile" else "x")
    (root / FOLDER).mkdir()
    (root / LINK[0]).symlink_to(LINK[1])
    (root / ".dockerignore").write_bytes(f"{patterns}\n".encode())


def _image_paths(patterns: str) -> list[str] | None:
    """Return what is below /all in the image, None where docker refuses a pattern."""

    def docker(*argv: str) -> bytes:
        env = {**os.environ, "DOCKER_BUILDKIT": "0"}
        return subprocess.run(["docker", *argv], check=True, capture_output=True, env=env).stdout

    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), patterns, "FROM scratch\nCOPY . /all/\n")
        try:
            docker("build", "--tag", TAG, folder)
        except subprocess.CalledProcessError as error:
            if b"pattern" not in error.stderr:
                raise
            return None
    container = docker("create", TAG, "x").decode().strip()
    exported = docker("export", container)
    docker("rm", container)
    docker("rmi", TAG)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        names = (member.name.rstrip("/").removeprefix("all/") for member in tar if member.name.startswith("all/"))
        return sorted(name for name in names if name)


if __name__ == "__main__":
    rows = {patterns: _image_paths(patterns) for patterns in CASES}
    lines = (f"{json.dumps(patterns)}: {json.dumps(paths)}" for patterns, paths in rows.items())
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(f"{len(rows)} cases\n")
