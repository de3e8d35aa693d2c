"""The recipes of docs/tokens.md, as they are printed there, with a server in GitHub's place."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from unit_helpers import FakeTerminal, built_demo, load, write

from phases.core.errors import SecretError
from phases.core.runtime import start as runtime_start
from phases.core.secrets.store import SecretStore

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs/recipes/github-app-token.sh"
RECIPES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/tokens.md").read_text(), re.DOTALL)


class GitHub(http.server.BaseHTTPRequestHandler):
    """Answers a signed request with a token, as api.github.com does."""

    public_key: ClassVar[Path]
    asked: ClassVar[list[tuple[str, dict[str, object]]]] = []
    problem: ClassVar[str] = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, json.loads(body)))
        status, answer = (
            201,
            {
                "token": f"ghs_canary{len(self.asked)}",
                "expires_at": "2026-01-01T00:00:00Z",
                "permissions": {"contents": "write"},
            },
        )
        if self.problem or not self.is_signed():
            status, answer = 401, {"message": self.problem or "A JSON web token could not be decoded"}
        data = json.dumps(answer, indent=2 if len(self.asked) % 2 else None).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def is_signed(self) -> bool:
        """Whether the request has a JWT of the App that is valid now."""
        token = self.headers["Authorization"].removeprefix("Bearer ")
        signed, _, signature = token.rpartition(".")
        header, claims = (json.loads(decoded(part)) for part in signed.split("."))
        path = self.public_key.with_suffix(".signature")
        path.write_bytes(decoded(signature))
        verify = ("openssl", "dgst", "-sha256", "-verify", str(self.public_key), "-signature", str(path))
        is_right = subprocess.run(verify, input=signed.encode(), capture_output=True, check=False).returncode == 0
        now = time.time()
        is_valid = claims["iat"] <= now < claims["exp"] <= claims["iat"] + 600
        return is_right and is_valid and header["alg"] == "RS256" and claims["iss"] == "123456"

    def log_message(self, *_: object) -> None:
        """Quiet."""


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The App's private key."""
    path = tmp_path_factory.mktemp("app") / "app.pem"
    subprocess.run(("openssl", "genrsa", "-out", path, "2048"), capture_output=True, check=True)
    subprocess.run(
        ("openssl", "rsa", "-in", path, "-pubout", "-out", path.with_suffix(".pub")), capture_output=True, check=True
    )
    return path


@pytest.fixture
def github(key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[GitHub]]:
    class Server(GitHub):
        asked: ClassVar[list[tuple[str, dict[str, object]]]] = []
        public_key = key.with_suffix(".pub")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}")
        yield Server
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home as docs/tokens.md says, and a `gh` that is logged in."""
    folder = tmp_path / "home/.config/habitats"
    folder.mkdir(parents=True)
    (folder / "app.pem").write_bytes(key.read_bytes())
    (folder / SCRIPT.name).write_bytes(SCRIPT.read_bytes())
    (folder / SCRIPT.name).chmod(0o755)
    write(tmp_path, "bin/gh", '#!/bin/sh\n[ "$*" = "auth token" ] && echo gho_of-a-person\n').chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return folder


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((str(SCRIPT), *words), capture_output=True, text=True, check=False)


def in_a_session(root: Path, recipe: str) -> dict[str, str]:
    """The environment of a command, with the secrets of a recipe."""
    secrets = recipe.partition("repos:\n")[0].replace("[repos]", "[setup]")
    demo = built_demo(root, f"{secrets}entry: {{command: 'true'}}\n")
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    return dict(demo.engine.commands[-1].env)


@pytest.mark.guarantee("token-recipes-work")
def test_recipe_of_gh_gives_the_token_of_the_login(tmp_path: Path, home: Path) -> None:
    assert in_a_session(tmp_path / "p", RECIPES[0])["GH_TOKEN"] == "gho_of-a-person"
    habitat = load(tmp_path / "q", f"base_image: b\n{RECIPES[0]}")
    assert [repo.token for repo in habitat.repos] == ["GITHUB"]
    assert "gh auth token" in RECIPES[2]


@pytest.mark.guarantee("token-recipes-work")
def test_recipe_of_app_gives_a_token_of_one_repository_each_time_anew(
    tmp_path: Path, home: Path, github: type[GitHub]
) -> None:
    assert in_a_session(tmp_path / "p", RECIPES[1])["GH_TOKEN"].startswith("ghs_canary")
    assert github.asked[0] == ("/app/installations/7890/access_tokens", {"repositories": ["project"]})
    (secret,) = load(tmp_path / "q", f"base_image: b\n{RECIPES[1]}").secrets
    vault = SecretStore(tmp_path)
    (first,), (second,) = vault.values([secret]), vault.fresh_copy().values([secret])
    assert first.data != second.data


@pytest.mark.guarantee("token-recipes-work")
def test_app_token_script_keeps_the_key_and_the_jwt_out_of_arguments_and_output(
    tmp_path: Path, key: Path, github: type[GitHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    curl = write(
        tmp_path, "bin/curl", f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\nPATH=$OLD exec curl "$@"\n'
    )
    curl.chmod(0o755)
    monkeypatch.setenv("OLD", os.environ["PATH"])
    monkeypatch.setenv("PATH", f"{curl.parent}:{os.environ['PATH']}")
    done = run("123456", "7890", str(key))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ghs_canary1\n", "")
    assert github.asked[0][1] == {}
    assert "Bearer" not in (tmp_path / "arguments").read_text()
    assert run("123456", "7890", str(key), "one", "two").returncode == 0
    assert github.asked[1][1] == {"repositories": ["one", "two"]}


@pytest.mark.parametrize(
    "words",
    [
        ("123456", "../../../user", "KEY"),
        ('1","iss":"2', "7890", "KEY"),
        ("123456", "7890", "KEY", 'a","b'),
        ("123456", "7890", "/nonexistent"),
        ("123456", "7890", "/etc/hostname"),
        ("999999", "7890", "KEY"),
        ("123456", "7890"),
        (),
    ],
)
def test_app_token_script_prints_no_token_where_something_is_wrong(
    key: Path, github: type[GitHub], words: tuple[str, ...]
) -> None:
    done = run(*(str(key) if word == "KEY" else word for word in words))
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr


def test_app_that_is_suspended_is_an_error_of_the_secret(
    tmp_path: Path, home: Path, github: type[GitHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github, "problem", "This installation has been suspended")
    (secret,) = load(tmp_path / "q", f"base_image: b\n{RECIPES[1]}").secrets
    with pytest.raises(SecretError, match="secret GITHUB: its command ended with exit code"):
        SecretStore(tmp_path).values([secret])
