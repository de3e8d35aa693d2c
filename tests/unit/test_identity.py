"""Who a command is told that it runs as: HOME, USER, LOGNAME, SHELL and what leads into a home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import SOMEWHERE, DemoProject, FakeTerminal, built_demo, load, make_user

from phases.core.container import defaults, identity, root_environment
from phases.core.container.users import UserDatabase
from phases.core.eject import writer
from phases.core.errors import ConfigError, StartError
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime import temporary
from phases.core.runtime.persistence.volumes import persistence_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_engine import Command

    from phases.core.project import Project

PASSWD = (
    "root:x:0:0:root:/root:/bin/bash\n"
    "agent:x:1000:1000::/home/agent:/bin/zsh\n"
    "abc:x:911:911::/config:/bin/false\n"
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "old:x:1500:1500::/home/old\n"
)
USERS = UserDatabase(lambda path: PASSWD.encode() if path == "/etc/passwd" else b"")
BASE_ENV = {
    "HOME": "/root",
    "LOGNAME": "root",
    "MAIL": "/var/mail/root",
    "XDG_CONFIG_HOME": "/root/.config",
    "XDG_DATA_DIRS": "/root/share:/usr/share",
    "XDG_RUNTIME_DIR": "/run/user/0",
}


def environment(command: Command) -> dict[str, str]:
    return {**command.container.env, **command.env}


@pytest.mark.parametrize(
    ("user", "home", "name", "shell"),
    [
        ("agent", "/home/agent", "agent", "/bin/zsh"),
        ("root", "/root", "root", "/bin/bash"),
        ("0", "/root", "root", "/bin/bash"),
        ("abc", "/config", "abc", "/bin/false"),
        ("1000", "/home/agent", "agent", "/bin/zsh"),
        ("old", "/home/old", "old", "/bin/sh"),
        ("4711", "/", "4711", "/bin/sh"),
    ],
)
def test_identity_is_that_of_account_in_image(tmp_path: Path, user: str, home: str, name: str, shell: str) -> None:
    habitat = load(tmp_path, "base_image: base:1\n")
    values = identity.variables(habitat, USERS, user, {"HOME": "/elsewhere", "USER": "agent", "LOGNAME": "x"})
    expected = {"HOME": home, "USER": name, "LOGNAME": name, "SHELL": shell}
    # The config's own USER is right for USER, so it is left as it is.
    assert values == {key: value for key, value in expected.items() if (key, user) != ("USER", "agent")}


def test_identity_moves_paths_of_another_users_home(tmp_path: Path) -> None:
    habitat = load(tmp_path, "base_image: base:1\n")
    env = BASE_ENV | {"GNUPGHOME": "/rootless/x", "XDG_CACHE_HOME": "/root", "USERNAME": "root"}
    assert identity.variables(habitat, USERS, "agent", env) == {
        "HOME": "/home/agent",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/zsh",
        "MAIL": "/var/mail/agent",
        "XDG_CONFIG_HOME": "/home/agent/.config",
        "XDG_DATA_DIRS": "/home/agent/share:/usr/share",
        "XDG_RUNTIME_DIR": "",
        "GNUPGHOME": "/rootless/x",
        "XDG_CACHE_HOME": "/home/agent",
        "USERNAME": "agent",
    }
    roots = identity.variables(habitat, USERS, "root", env | {"XDG_STATE_HOME": "/home/agent/.state"})
    assert roots["XDG_RUNTIME_DIR"] == "/run/user/0"
    assert roots["XDG_STATE_HOME"] == "/root/.state"


def test_identity_of_user_keeps_what_config_sets_and_others_do_not_get_it(tmp_path: Path) -> None:
    habitat = load(tmp_path, "base_image: base:1\nenv: [HOME=/data, SHELL=/bin/fish, XDG_CONFIG_HOME=/data/.config]\n")
    env = {"HOME": "/data", "SHELL": "/bin/fish", "XDG_CONFIG_HOME": "/data/.config", "USER": "agent"}
    users = UserDatabase(lambda _: PASSWD.encode(), identity.homes(habitat, env))
    assert identity.variables(habitat, users, "agent", env) == {"LOGNAME": "agent"}
    assert identity.variables(habitat, users, "root", env) == {
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "XDG_CONFIG_HOME": "/root/.config",
    }
    assert users.home("agent") == "/data"
    assert users.home("abc") == "/config"


CONFIG = """\
base_image: linuxserver:1
files: [{source: rc, dest: ~/rc}]
setup:
  - {run_as: root, commands: [echo root]}
  - {run_as: abc, commands: [echo third]}
  - {run_as: agent, commands: [echo mine]}
tests: [t.sh]
entry: {command: echo entry}
"""


@pytest.mark.guarantee("command-identity")
def test_base_with_home_every_command_of_build_and_habitat_has_identity_of_its_user(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, CONFIG)
    (tmp_path / "habitats/demo/rc").write_text("x")
    (tmp_path / "habitats/demo/t.sh").write_text("echo test")
    demo.engine.add_image("linuxserver:1", env={**BASE_ENV, "PATH": "/opt/bin:/bin"})
    files = demo.engine.files("linuxserver:1")
    files.write("/etc/passwd", files.nodes["/etc/passwd"].content.decode() + "abc:x:911:911::/config:/bin/false\n")
    demo.engine.on_execute = lambda command: make_user(command) or ((0, "") if "/t.sh" in str(command.argv) else None)
    demo.build()
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    runtime_exec.execute(demo.run_anew(), "demo", ("echo", "exec"), FakeTerminal())
    with temporary.open_temporary_session(demo.run_anew(), "demo", "setup") as session:
        assert session.env["HOME"] == "/home/agent"
        assert session.env["USER"] == "agent"
    commands = [c for c in demo.engine.commands if make_user(c) is None and "receive" not in c.script]
    homes = {"agent": "/home/agent", "abc": "/config", "root": "/root"}
    people = [c for c in commands if c.user in homes and environment(c).get("LOGNAME")]
    assert {c.user for c in people} == set(homes)
    assert len([c for c in people if c.user == "agent"]) == 4, "setup, test, entry, exec"
    for command in people:
        env = environment(command)
        assert (env["HOME"], env["USER"], env["LOGNAME"]) == (homes[command.user], command.user, command.user)
        assert env["XDG_CONFIG_HOME"] == f"{homes[command.user]}/.config"
        assert env["MAIL"] == f"/var/mail/{command.user}"
        assert env["LANG"] == "C.UTF-8"
        assert f"/opt/bin:{homes[command.user]}/.local/bin:/bin" in env["PATH"]
    config = demo.engine.image_config("habitat-demo:final")
    assert config
    assert "LANG" not in config.env, "it is in no image, so that no phase depends on it"
    assert ".local/bin" not in config.env["PATH"]
    assert config.env["HOME"] == "/home/agent", "for docker run by hand, and ${HOME} in env"
    assert demo.engine.files("habitat-demo:final").find("/home/agent/rc")


def test_config_sets_home_tilde_and_commands_agree(tmp_path: Path) -> None:
    demo = DemoProject(
        tmp_path,
        "base_image: base:1\nenv: [HOME=/data]\nfiles: [{source: rc, dest: ~/rc}]\n"
        "setup: [{run_as: agent, commands: [echo mine]}, {run_as: root, commands: [echo root]}]\n"
        "verify-fs: {required_files: [~/rc]}\nentry: {persist: [~/.state/]}\n",
    )
    (tmp_path / "habitats/demo/rc").write_text("x")
    demo.build()
    assert demo.engine.files("habitat-demo:final").find("/data/rc")
    by_user = {c.user: environment(c) for c in demo.engine.commands if c.script.startswith("echo")}
    assert by_user["agent"]["HOME"] == "/data"
    assert by_user["root"]["HOME"] == "/root"
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert [folder.mount_point for folder in persistence_of(demo.container()).folders] == ["/data/.state"]


def test_profile_leaves_identity_to_login_shell(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nenv: [HOME=/data, SHELL=/bin/x, A=b]\n")
    demo.build()
    profile = demo.engine.files("habitat-demo:final").nodes["/etc/profile.d/habitat.sh"].content.decode()
    names = [line.removeprefix("export ").partition("=")[0] for line in profile.splitlines()]
    assert "A" in names
    assert not {"HOME", "USER", "SHELL", "LOGNAME"} & set(names)


def test_main_process_of_habitat_is_root(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: linuxserver:1\n")
    demo.engine.add_image("linuxserver:1", env=BASE_ENV)
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    env = demo.engine._container("habitat-demo").env
    assert (env["USER"], env["LOGNAME"], env["HOME"]) == ("root", "root", "")


def test_ejected_commands_name_their_user_and_image_gets_home(tmp_path: Path) -> None:
    habitat = load(tmp_path, "base_image: base:1\nenv: [XDG_DATA_HOME=/x]\nsetup: {root: [id], user: [id]}\n")
    text = writer.write_dockerfile(habitat, {"HOME": "/root", "LANG": "C", "XDG_CONFIG_HOME": "/root/.c"}).dockerfile
    assert 'ENV HOME="/home/agent"' in text or "ENV HOME=/home/agent" in text
    assert "XDG_CONFIG_HOME" in text
    assert "LANG" not in text
    assert '/run", "-u", "root", "--", "id"]' in text
    assert '/run", "-u", "agent", "-k", "USER", "-k", "XDG_DATA_HOME", "--", "id"]' in text


# A user that the image lacks


@pytest.mark.parametrize("name", ["dev", "²", "１２", "99999999999", "-1", ""])
def test_account_of_unknown_user_is_refused_with_place(name: str) -> None:
    with pytest.raises(StartError, match=rf"^demo: there is no user '{name}' in the image: see that setup"):
        USERS.account(name, "demo")


@pytest.mark.parametrize("owner", ["²", "agent:²", "１２", "agent:１"])
def test_owner_with_other_digits_is_refused(owner: str) -> None:
    with pytest.raises(ConfigError, match="in the image"):
        USERS.ids(owner, SOMEWHERE)


@pytest.mark.parametrize("secrets", ["", "secrets: [{name: T, command: echo s3cret, start: true}]\n"])
def test_session_of_user_removed_by_setup_names_user(tmp_path: Path, secrets: str) -> None:
    demo = DemoProject(
        tmp_path, f"base_image: base:1\n{secrets}setup: {{root: [userdel agent]}}\nentry: {{command: x}}\n"
    )

    def remove_user(command: Command) -> tuple[int, str] | None:
        if command.script.strip() == "userdel agent":
            passwd = command.container.files.nodes["/etc/passwd"].content.decode().splitlines(keepends=True)
            text = "".join(row for row in passwd if not row.startswith("agent:"))
            command.container.files.write("/etc/passwd", text)
            return 0, ""
        return make_user(command)

    demo.engine.on_execute = remove_user
    demo.build()
    text = "demo: there is no user 'agent' in the image: see that setup, tools and hooks keep it in /etc/passwd"
    runs: list[Callable[[Project], int]] = [
        lambda project: runtime_start.start(project, "demo", FakeTerminal()),
        lambda project: runtime_exec.execute(project, "demo", ("id",), FakeTerminal()),
        lambda project: runtime_exec.shell(project, "demo", FakeTerminal(piped=True)),
    ]
    for run in runs:
        with pytest.raises(StartError) as error:
            run(demo.run_anew())
        assert str(error.value) == text
        assert not demo.container().running
    with temporary.open_temporary_session(demo.run_anew(), "demo", "setup") as session:
        assert session.user == "root"
        assert session.env["USER"] == "root"


# Users whom a person has changed in the container


def home_of_exec(demo: DemoProject) -> str:
    assert runtime_exec.execute(demo.run_anew(), "demo", ("echo", "exec"), FakeTerminal()) == 0
    return environment(demo.engine.commands[-1])["HOME"]


def forget_image(demo: DemoProject) -> None:
    """Forget the files of the image, as a habitat whose images another one has built does."""
    (demo.root / ".stamps/demo/contents").unlink()


def change_home(demo: DemoProject) -> None:
    files = demo.engine.files("habitat-demo")
    passwd = files.nodes["/etc/passwd"].content.decode()
    files.write("/etc/passwd", passwd.replace(":/home/agent:", ":/elsewhere:"))


def test_users_changed_in_container_of_unknown_image_do_not_count_for_new_containers(tmp_path: Path) -> None:
    demo = built_demo(tmp_path)
    runtime_start.start_detached(demo.run_anew(), "demo")
    change_home(demo)
    forget_image(demo)
    assert home_of_exec(demo) == "/elsewhere", "nobody knows what the image has, so the container's own count"
    runtime_start.start_detached(demo.run_anew(), "demo", fresh=True)
    assert home_of_exec(demo) == "/home/agent"


def test_users_of_image_are_learned_from_new_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path)
    forget_image(demo)
    runtime_start.start_detached(demo.run_anew(), "demo")
    change_home(demo)
    before = len(demo.engine.called("read_file"))
    assert home_of_exec(demo) == "/home/agent"
    assert len(demo.engine.called("read_file")) == before


def test_users_on_a_mount_are_not_those_of_image(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("agent:x:1000:1000::/elsewhere:/bin/sh\n")
    demo = built_demo(tmp_path, f"volumes: [{{source: {tmp_path}/passwd, dest: /etc/passwd, readonly: true}}]\n")
    forget_image(demo)
    runtime_start.start_detached(demo.run_anew(), "demo")
    known = demo.root / ".stamps/demo/contents"
    assert not known.exists() or "passwd" not in known.read_text()


# Defaults


@pytest.mark.parametrize("env", ["LANG=de_DE.UTF-8", "LC_ALL=C", "LC_CTYPE=en_US.UTF-8", "LANG="])
@pytest.mark.parametrize("place", ["image", "config"])
def test_locale_of_image_or_config_stays(tmp_path: Path, env: str, place: str) -> None:
    demo = DemoProject(
        tmp_path, "base_image: b:1\nsetup: {user: [echo mine]}\n" + f"env: ['{env}']\n" * (place == "config")
    )
    demo.engine.add_image("b:1", env=dict([env.split("=")]) if place == "image" else {})
    demo.build()
    runtime_exec.execute(demo.run_anew(), "demo", ("echo", "exec"), FakeTerminal())
    for command in [command for command in demo.engine.commands if command.user == "agent"]:
        values = environment(command)
        assert {name: values[name] for name in values if name.startswith(("LANG", "LC_"))} == dict([env.split("=")])


@pytest.mark.parametrize(
    ("path", "home", "result"),
    [
        ("/usr/bin:/bin", "/h", "/h/.local/bin:/usr/bin:/bin"),
        (
            "/tools:/usr/local/cargo/bin:/usr/local/sbin:/bin",
            "/h",
            "/tools:/usr/local/cargo/bin:/h/.local/bin:/usr/local/sbin:/bin",
        ),
        ("/h/.local/bin:/bin", "/h", "/h/.local/bin:/bin"),
        ("/bin:/h/.local/bin", "/h", "/bin:/h/.local/bin"),
        ("/only", "/h", "/only:/h/.local/bin"),
        ("/bin", "/", "/.local/bin:/bin"),
        ("/bin", "", "/bin"),
    ],
)
def test_local_bin_is_before_folders_of_system(path: str, home: str, result: str) -> None:
    assert defaults.path_with_local_bin(path, home) == result


def test_local_bin_of_root_is_left_out_where_user_can_write(tmp_path: Path) -> None:
    (tmp_path / "habitats/demo/d").mkdir(parents=True)
    habitat = load(tmp_path, "base_image: b\nvolumes: [{source: ./d, dest: /root}]\n")
    env = {"HOME": "/root", "PATH": "/bin"}
    assert root_environment.with_local_bin(env, habitat, "root") == env
    assert (
        root_environment.with_local_bin({**env, "HOME": "/home/agent"}, habitat, "agent")["PATH"]
        == "/home/agent/.local/bin:/bin"
    )
