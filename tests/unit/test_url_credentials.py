"""Passwords and tokens in the URLs of a config: refused where git is to clone, and shown nowhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, write

from phases.core import url_credentials
from phases.core.build import failure
from phases.core.config import git_refs
from phases.core.errors import ConfigError, HabitatError
from phases.core.report import changes, plan
from phases.core.scaffold import create
from phases.protocol import ChangeDescription

if TYPE_CHECKING:
    from pathlib import Path

GH = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
HEX = "0123456789abcdef0123456789abcdef01234567"

#: A URL, and the part of it that nobody is to see.
CREDENTIALS = [
    (f"https://{GH}@github.com/o/r", GH),
    ("https://ghp_short@github.com/o/r", "ghp_short"),
    ("https://ghp%5Fabcdefgh@github.com/o/r", "abcdefgh"),
    ("https://%67hp_abcdefgh@github.com/o/r", "abcdefgh"),
    ("https://%2567hp_abcdefgh@github.com/o/r", "abcdefgh"),
    ("https://github_pat_11ABCDE_0123@github.com/o/r", "11ABCDE"),
    ("https://glpat-abcdefghij0123456789@gitlab.com/o/r", "abcdefghij"),
    (f"https://{HEX}@git.example.org/o/r", HEX),
    ("https://aB3dE5gH7jK9mN1pQ3sT@h/r", "aB3dE5gH7jK9mN1pQ3sT"),
    ("https://xY3z-abc_defGH12345Q@h/r", "xY3z-abc_defGH12345Q"),
    ("https://3f2b8c1e-7d4a-4b6f-9c3e-1a2b3c4d5e6f@h/r", "3f2b8c1e"),
    ("https://eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K@h/r", "eyJzdWI"),
    ("https://me:s3cret@h/r", "s3cret"),
    ("https://me%3As3cret@h/r", "s3cret"),
    ("https://me:s3/w0rd@h/r", "w0rd"),
    ("https://me:s3#w0rd@h/r", "w0rd"),
    ("https://me:s3?w0rd@h/r", "w0rd"),
    ("https://me:s3@w0rd@h/r", "w0rd"),
    ("https://:s3cret@h/r", "s3cret"),
    (f"https://{GH}:@h/r", GH),
    (f"https://{GH}:x-oauth-basic@h/r", GH),
    ("ssh://me:s3cret@h/r", "s3cret"),
    ("git://me:s3cret@h/r", "s3cret"),
    ("ftps://me:s3cret@h/r", "s3cret"),
    ("HTTPS://me:s3cret@h/r", "s3cret"),
    ("rsync://me:s3cret@h/r", "s3cret"),
    (f"ssh://{GH}@github.com/o/r", GH),
    (f"{GH}@github.com:o/r", GH),
    (f"https:/{GH}@github.com/o/r", GH),
    (f"https://github.com/{GH}/r", GH),
    ("https://ghp_ab/cd@github.com/o/r", "ghp_ab"),
    (f"ext::https://{GH}@github.com/o/r", GH),
    (f"https://{GH}@github.com/o/with space", GH),
    ("https://h/r?access_token=s3cret", "s3cret"),
    ("https://h/r?a=b&private_token=s3cret", "s3cret"),
    ("https://h/r?a=b;TOKEN=s3cret", "s3cret"),
    ("https://h/r?ACCESS%5FTOKEN=s3cret", "s3cret"),
    ("https://h/r?password=s3cret", "s3cret"),
    ("https://h/r?key=s3cret", "s3cret"),
    ("https://h/r?api-key=s3cret", "s3cret"),
    ("https://h/r?client_secret=s3cret", "s3cret"),
    ("https://h/r#token=s3cret", "s3cret"),
    ("https://h/r#a&secret=s3cret", "s3cret"),
]

PLAIN = [
    "https://git@h/r",
    "https://oauth2@h/r",
    "https://x-access-token@h/r",
    "https://jane.doe@h/r",
    "https://jane.doe%40example.com@dev.azure.com/o/p/_git/r",
    "https://a-rather-long-but-plain-user-name@h/r",
    "https://averylongbutplainusername@h/r",
    "https://JaneMariaDoeOfTheDesk@h/r",
    "https://build.user.2024.team.1@h/r",
    "https://gitlab+deploy-token-1234567@h/r",
    "https://name-at-123456789012@git-codecommit.eu-west-1.amazonaws.com/v1/repos/r",
    "ssh://APKAEIBAERJR2EXAMPLE@git-codecommit.eu-west-1.amazonaws.com/v1/repos/r",
    "ssh://git@[::1]:22/r",
    "https://[::1]:80/r@b",
    "https://h:8443/r@b",
    "git@github.com:o/r.git",
    "org-123456@github.com:o/r.git",
    f"https://h/r?ref={HEX}",
    "https://h/r?monkey=1&keyboard=2",
    "https://h/r?token=",
    "https://h/r#readme",
    "https://h/o/ghp_tools",
    "https://h/sk-learn/npm_thing",
    "file:///srv/r",
    "/srv/r",
]


@pytest.mark.guarantee("secret-in-url-refused")
@pytest.mark.parametrize(("url", "secret"), CREDENTIALS)
def test_url_with_credential_is_refused_and_credential_hidden(tmp_path: Path, url: str, secret: str) -> None:
    config = f"base_image: base:1\nrepos:\n  - {{url: '{url.replace('$', '$$')}', path: x}}\n"
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, config)
    assert secret not in str(excinfo.value) + repr(excinfo.value)
    assert str(excinfo.value).startswith("habitats/demo/config.yaml:3: there is a ")
    assert str(excinfo.value).endswith(" in the url: name a secret with token: instead")
    with pytest.raises(ConfigError) as excinfo:
        create.create(tmp_path, "new", "base:1", [url])
    assert secret not in str(excinfo.value) + repr(excinfo.value)
    assert not (tmp_path / "habitats/new").exists()


@pytest.mark.guarantee("secret-in-url-refused")
@pytest.mark.parametrize("url", PLAIN)
def test_url_with_plain_user_name_is_accepted_and_shown_completely(url: str) -> None:
    git_refs.check_url(url)
    assert url_credentials.hide(url) == url


@pytest.mark.parametrize(("url", "secret"), CREDENTIALS)
def test_credential_url_in_text_is_hidden_and_other_text_kept(url: str, secret: str) -> None:
    shown = url_credentials.hide(f"git clone {url} && cat a@b:c")
    assert secret not in shown
    assert shown.startswith("git clone ")
    assert shown.endswith(" && cat a@b:c")


@pytest.mark.guarantee("secret-in-url-refused")
@pytest.mark.parametrize(
    "config",
    [
        "base_image: https://me:s3cret@registry/x",
        "base_image: base:1\nenv: ['https://me:s3cret@h/']",
        "base_image: base:1\nenv: ['A=http://me:s3cret@$h/$']",
        "base_image: base:1\nfiles: [{source: 'https://me:s3cret@h/x', dest: /x}]",
        "base_image: base:1\nvolumes: [{source: 'https://me:s3cret@h/x', dest: /x}]",
        "base_image: base:1\nvolumes: [{source: /, dest: 'http://me:s3cret@h/x'}]",
        "base_image: base:1\ntests: ['https://me:s3cret@h/x']",
        "base_image: base:1\nrepos: [{url: 'https://me:pa$s3cret@h/x', path: x}]",
        "base_image: base:1\nrepos: [{url: 'https://me:s3cret$@h/x', path: x}]",
        "base_image: base:1\nrepos: [{url: /x, path: x, branch: 'https://me:s3cret@h/x'}]",
        "base_image: base:1\nentry: {network: 'https://me:s3cret@h/x'}",
        "base_image: base:1\n'https://me:s3cret@h/x': 1",
        "base_image: base:1\ndockerfile: 'https://me:s3cret@h/x'",
        "base_image: base:1\nrepos: [{url: https://me:s3cret@h: x, path: y}]",
        'base_image: base:1\nrepos: [{url: {a: "https://me:s3cret@h/"}, path: y}]',
        "base_image: base:1\nenv: [USER=https://me:s3cret@h/x]",
    ],
)
def test_config_error_about_value_with_credential_hides_credential(tmp_path: Path, config: str) -> None:
    with pytest.raises(HabitatError) as excinfo:
        load(tmp_path, config)
    assert "s3cret" not in str(excinfo.value) + repr(excinfo.value)


def test_new_habitat_error_about_base_image_hides_credential(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as excinfo:
        create.create(tmp_path, "new", "https://me:s3cret@registry/x", [])
    assert "s3cret" not in str(excinfo.value)


@pytest.mark.guarantee("secret-in-url-refused")
def test_plan_of_changed_credential_shows_neither_value(tmp_path: Path) -> None:
    config = "base_image: base:1\nenv: ['HTTP_PROXY=http://me:s3cret@proxy:3128']\nsetup: {root: ['true https://me:s3cret@h/']}\n"
    demo = DemoProject(tmp_path, config)
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", config.replace("s3cret", "an0ther"))
    messages = plan.plan(demo.run_anew(), "demo")
    lines = [reason.text for reasons in messages.why.values() for reason in reasons]
    assert "env.HTTP_PROXY: changed (a password or a token in it)" in lines
    assert not any("s3cret" in line or "an0ther" in line for line in lines)


def test_difference_next_to_credential_hides_credential() -> None:
    change = changes.Difference(("env", "P"), "http://me:s3cret@proxy:1", "http://me:s3cret@proxy:2")
    assert (
        changes.describe(change, ChangeDescription("env.P")) == "env.P: http://me:***@proxy:1 → http://me:***@proxy:2"
    )


def test_failed_script_is_shown_without_credential() -> None:
    assert failure.typed("git clone https://me:s3cret@h/r\n", ()) == ["$ git clone https://me:***@h/r"]


@pytest.mark.parametrize("text", ["a:" * 100_000, "a.b-" * 50_000, "?a" * 50_000, "https://" * 20_000, "a@" * 50_000])
def test_credential_search_in_long_text_takes_under_two_seconds(text: str) -> None:
    began = time.monotonic()
    url_credentials.hide(text)
    url_credentials.credential_in(text[:4096])
    assert time.monotonic() - began < 2
