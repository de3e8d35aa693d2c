"""What is wrong with a config is one line: the file and line, what it is, what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from unit_helpers import load, write

from phases.core.errors import ConfigError, HabitatError
from phases.core.problems import errors_of

KEYS = "base_image, build, caches, debug, description, dockerfile, entry, env, extends, files, hooks, "
KEYS += "instructions, name, project, repos, secrets, setup, take, tests, timeouts, uid, verify-fs, volumes, workspace"
DEMO = "habitats/demo"
FILE = f"{DEMO}/config.yaml"
#: What to do about a path that can't persist.
WITHIN = "name a file or folder below it, or somewhere else"

#: The same of one that can't be a cache.
URL = "use up to 4096 characters, without spaces and not beginning with -, like https://host/name.git"
REF = "use up to 255 letters and digits, with single - _ . or / between them, like feature/log-in"
HOST_PATH = "write a path that exists, absolute, below ~, or relative to this config"
DURATION = "write whole seconds, minutes or hours, such as 90s, 30m or 1h 30m"
NO_PERSIST = "name a file or folder somewhere else"
ELSEWHERE = "name a folder somewhere else"
SECRET_PHASES = "write dockerfile, setup, repos, tools or test, or a phase that has hooks"
CACHE = "name a folder below it, or somewhere else"

#: A name for the case, the config below `base_image: debian` on line 1, and what comes after the file's name.
CASES = [
    ("unknown key", "setpu: []", ":2: unknown key 'setpu': did you mean 'setup'?"),
    ("unknown key, nothing near", "zzz: 1", f":2: unknown key 'zzz': known here: {KEYS}"),
    (
        "unknown key in a list",
        "repos:\n  - url: u\n    path: /p\n    brnach: main",
        ":5: repos[0]: unknown key 'brnach': did you mean 'branch'?",
    ),
    (
        "unknown key in a mapping",
        "entry:\n  comand: x",
        ":3: entry: unknown key 'comand': did you mean 'command'?",
    ),
    (
        "unknown key of verify-fs",
        "verify-fs:\n  required: []",
        ":3: verify-fs: unknown key 'required': did you mean 'required_files'?",
    ),
    ("a list for text", "description: [a]", ":2: description: must be text, is a list: write one value"),
    ("text for a switch", "debug: maybe", ":2: debug: must be true or false, is text: write true or false"),
    (
        "text for a number",
        "repos:\n  - {url: u, path: /p, depth: many}",
        ":3: repos[0].depth: must be a whole number, is text: write a number",
    ),
    (
        "text for seconds",
        "entry:\n  startup_delay: soon",
        ":3: entry.startup_delay: must be a number, is text: write a number",
    ),
    ("a missing key", "files:\n  - source: a", ":3: files[0]: 'dest' is missing: add it"),
    (
        "text for setup",
        "setup: apt",
        ":2: setup: must be a mapping or a list, is text: write root: or user:, and a list of scripts below",
    ),
    (
        "a list of text for setup",
        "setup:\n  - apt",
        ":3: setup[0]: must be a mapping, is text: write root: or user:, and a list of scripts below",
    ),
    ("key twice", "env: []\nenv: []", ":3: key 'env' appears twice (first on line 2): keep one of them"),
    (
        "nested key twice",
        "entry:\n  command: a\n  command: b",
        ":4: key 'command' appears twice (first on line 3): keep one of them",
    ),
    ("broken YAML", "env: [a\nfiles: ]", ":3:6: is not YAML: did not find expected ',' or ']': fix the line"),
    ("a tab", "entry:\n\tcommand: x", ":3:1: is not YAML: found character that cannot start any token: fix the line"),
    (
        "two colons",
        "description: a: b",
        ":2:15: is not YAML: mapping values are not allowed in this context: fix the line",
    ),
    (
        "two documents",
        "---\nname: demo",
        ":2:1: is not YAML: but found another document: fix the line",
    ),
    ("a list for a key", "? [a]\n: b", ":2: a key must be plain text: quote it"),
    (
        "unknown variable",
        "verify-fs:\n  required_files:\n    - ${WORKDIRR}/x",
        ":4: ${WORKDIRR} is not set in env: did you mean 'WORKDIR'?",
    ),
    (
        "a variable of the image",
        "env:\n  - PATH=/x:$PATH\nverify-fs:\n  required_files:\n    - ${PATH}/x",
        ":6: ${PATH} is known only in the image: write $$PATH to leave it to the shell there",
    ),
    (
        "a cycle of variables",
        "env:\n  - A=$B\n  - B=$A",
        ":4: env: A → B → A is a cycle: write the value of B without $A",
    ),
    (
        "a variable that leads to a cycle",
        "env:\n  - X=$A\n  - A=$B\n  - B=$A",
        ":5: env: A → B → A is a cycle: write the value of B without $A",
    ),
    (
        "a number too large",
        "entry:\n  startup_delay: 1e999",
        ":3: entry.startup_delay: number out of range: see `entry` in docs/config.md",
    ),
    ("a lone $", "entry:\n  command: echo $", ":3: a lone $ in 'echo $': write $$ for a dollar sign"),
    ("a lone $ in env", "env:\n  - A=x$5", ":3: a lone $ in 'x$5': write $$ for a dollar sign"),
    ("no assignment in env", "env:\n  - A", ":3: env: 'A' is not NAME=value: write it as NAME=value"),
    (
        "a missing file",
        "files:\n  - source: nope.txt\n    dest: /x",
        f":3: files: there is neither {DEMO}/nope.txt nor nope.txt on the host: add it, or fix the path",
    ),
    (
        "a missing file, named absolutely",
        "files:\n  - source: /nope/nope.txt\n    dest: /x",
        ":3: files: there is no /nope/nope.txt on the host: add it, or fix the path",
    ),
    (
        "a missing volume",
        "volumes:\n  - source: nope\n    dest: /x",
        ":3: volumes: there is neither habitats/demo/nope nor nope on the host: add it, or fix the path",
    ),
    (
        "a volume for the secrets",
        "volumes:\n  - {source: ., dest: /run/secrets}",
        ":3: a volume can't be mounted at /run/secrets, where the secrets are: write another folder",
    ),
    (
        "a volume for one secret",
        "volumes:\n  - {source: ., dest: /run/x/../secrets/T}",
        ":3: a volume can't be mounted at /run/secrets, where the secrets are: write another folder",
    ),
    (
        "a number that is none",
        "uid: me",
        ":2: uid: must be host, or a number from 1 to 2147483647, is 'me': write host for your own number",
    ),
    (
        "a number for root",
        "env: [USER=root]\nuid: 1000",
        ":3: uid needs a USER other than root: set another USER, or leave uid out",
    ),
    (
        "a cache of the image's own",
        "caches:\n  - ~/.npm\n  - /usr/",
        f":4: caches: /usr can't be a cache: it is the image's own: {CACHE}",
    ),
    (
        "a cache of the kernel's",
        "caches: [/proc/x]",
        f":2: caches: /proc/x can't be a cache: /proc is the kernel's: {ELSEWHERE}",
    ),
    (
        "a cache of what a container makes",
        "caches: [/run/lock]",
        f":2: caches: /run/lock can't be a cache: /run is the container's: {ELSEWHERE}",
    ),
    (
        "a cache of the secrets",
        "caches: [/run/secrets/x]",
        f":2: caches: /run/secrets/x can't be a cache: /run/secrets is the habitat's own: {ELSEWHERE}",
    ),
    (
        "a cache of what the build makes",
        "caches:\n  - path: ${WORKDIR}",
        f":3: caches: /workspace can't be a cache: the build puts files there: {CACHE}",
    ),
    ("a cache of the home", "caches: ['~/']", f":2: caches: ~ can't be a cache: the build puts files there: {CACHE}"),
    (
        "a cache in a volume",
        "volumes:\n  - {source: ., dest: /data}\ncaches: [/data/x]",
        f":4: caches: /data/x can't be a cache: /data is a volume ({FILE}:3): keep one of them",
    ),
    (
        "a cache that holds a volume",
        "volumes:\n  - {source: ., dest: /data/x}\ncaches: [/data]",
        f":4: caches: /data can't be a cache: /data/x is a volume ({FILE}:3): keep one of them",
    ),
    (
        "a cache of what persists",
        "caches: [~/.cache]\nentry:\n  persist: [~/.cache/x/]",
        f":2: caches: ~/.cache can't be a cache: ~/.cache/x/ persists ({FILE}:4): keep one of them",
    ),
    (
        "a cache of what is copied",
        "files:\n  - {source: config.yaml, dest: ~/.npm/rc}\ncaches: [~/.npm]",
        f":4: caches: ~/.npm can't be a cache: ~/.npm/rc is copied ({FILE}:3): keep one of them",
    ),
    (
        "a cache of what is cloned",
        "repos:\n  - {url: u, path: /srv/a/b}\ncaches: [/srv/a]",
        f":4: caches: /srv/a can't be a cache: /srv/a/b is cloned ({FILE}:3): keep one of them",
    ),
    (
        "a cache in a cache",
        "caches:\n  - /srv/a\n  - path: /srv/a/b\n    sharing: locked",
        f":4: caches: /srv/a/b can't be a cache: /srv/a is a cache ({FILE}:3): keep one of them",
    ),
    (
        "a cache twice",
        "caches: [/srv/a, /srv/a/.]",
        f":2: caches: /srv/a can't be a cache: /srv/a is a cache ({FILE}:2): keep one of them",
    ),
    (
        "a cache that is shared in another way",
        "caches:\n  - path: /srv/a\n    sharing: private",
        (
            ":4: caches[0].sharing: must be shared or locked, is 'private': "
            "write locked if one build at a time may use the cache"
        ),
    ),
    ("a cache without a path", "caches:\n  - sharing: locked", ":3: caches[0]: 'path' is missing: add it"),
    (
        "a cache's unknown key",
        "caches:\n  - {path: /x, shared: true}",
        ":3: caches[0]: unknown key 'shared': did you mean 'sharing'?",
    ),
    (
        "what the build makes, to persist",
        "entry:\n  persist:\n    - ~/x/\n    - /workspace/",
        f":5: entry.persist: /workspace/ can't persist: the build puts files there: {WITHIN}",
    ),
    (
        "what holds what the build makes, to persist",
        "env: [WORKDIR=/srv/a/b]\nentry:\n  persist: [/srv/a/]",
        f":4: entry.persist: /srv/a/ can't persist: /srv/a/b is in it, and the build puts files there: {WITHIN}",
    ),
    (
        "what persists in what persists",
        "entry:\n  persist:\n    - ~/.cache/\n    - ~/.cache/x",
        f":5: entry.persist: ~/.cache/x can't persist: ~/.cache/ persists ({FILE}:4): keep one of them",
    ),
    (
        "what persists in a volume",
        "volumes:\n  - {source: ., dest: /data}\nentry:\n  persist: [/data/x/]",
        f":5: entry.persist: /data/x/ can't persist: /data is a volume ({FILE}:3): keep one of them",
    ),
    (
        "a volume in what persists",
        "volumes:\n  - {source: ., dest: /data/x}\nentry:\n  persist: [/data/]",
        f":5: entry.persist: /data/ can't persist: /data/x is a volume ({FILE}:3): keep one of them",
    ),
    (
        "secrets, to persist",
        "entry:\n  persist: [/run/secrets/]",
        f":3: entry.persist: /run/secrets/ can't persist: /run/secrets is the habitat's own: {NO_PERSIST}",
    ),
    (
        "a missing test",
        "tests:\n  - tests/nope.sh",
        f":3: tests: there is neither {DEMO}/tests/nope.sh nor tests/nope.sh on the host: add it, or fix the path",
    ),
    ("a folder for a test", "tests:\n  - .", ":3: tests: . is not a file: name a script"),
    (
        "another name than the folder's",
        "name: other",
        ":2: name is 'other' but its folder is 'demo': give both one name, or leave the key out",
    ),
    (
        "a bad duration",
        "timeouts:\n  setup: soon",
        f":3: timeouts.setup: must be a duration from 1s to 8760h, is 'soon': {DURATION}",
    ),
    (
        "no duration at all",
        "timeouts:\n  setup: 0",
        f":3: timeouts.setup: must be a duration from 1s to 8760h, is '0': {DURATION}",
    ),
    ("an unknown phase", "timeouts:\n  setpu: 3m", ":3: timeouts: there is no phase 'setpu': did you mean 'setup'?"),
    (
        "a mode in letters",
        "files:\n  - source: .\n    dest: /x\n    mode: rw",
        ":5: mode 'rw' is not octal: write it like 0644",
    ),
    (
        "a mode with a nine",
        "files:\n  - source: .\n    dest: /x\n    mode: 0999",
        ":5: mode '0999' is not octal: write it like 0644",
    ),
    (
        "an owner with a space",
        "files:\n  - source: .\n    dest: /x\n    owner: a b",
        ":5: owner 'a b' is not a user name: write NAME or NAME:GROUP",
    ),
    ("an empty dest", "files:\n  - source: .\n    dest: ''", ":4: '' is not a path: write one path, on one line"),
    (
        "branch and ref",
        "repos:\n  - {url: u, path: /p, branch: a, ref: b}",
        ":3: repos[0] has both branch and ref: keep one of them",
    ),
    (
        "a negative depth",
        "repos:\n  - {url: u, path: /p, depth: -1}",
        (
            ":3: repos[0].depth: must be a number of commits from 1 to 2147483647, is -1: leave the key out to get all "
            "commits"
        ),
    ),
    (
        "an option for a url",
        "repos:\n  - {url: --upload-pack=x, path: /p}",
        f":3: git doesn't accept '--upload-pack=x' as a url: {URL}",
    ),
    (
        "an option for a branch",
        "repos:\n  - {url: u, path: /p, branch: -x}",
        f":3: git doesn't accept '-x' as a branch: {REF}",
    ),
    (
        "an option for a host",
        "repos:\n  - {url: 'ssh://-oProxyCommand=x/y', path: /p}",
        ":3: the host in 'ssh://-oProxyCommand=x/y' begins with -: write the host's name",
    ),
    ("an alias in itself", "env: &a\n  - *a", ":2: an alias contains itself: write the value in its place"),
    ("an alias of nothing", "env: *x", ":2:6: is not YAML: found undefined alias: fix the line"),
    (
        "an explosion of aliases",
        "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10) if i else 'a'}]" for i in range(9)),
        ": has more than 50,000 values: use fewer aliases",
    ),
    ("a USER with a space", "env:\n  - USER=a b", ":3: USER: 'a b' is not a user name: write a name such as dev"),
    ("a relative WORKDIR", "env:\n  - WORKDIR=work", ":3: WORKDIR: 'work' is not absolute: start it with a slash"),
    (
        "an option for a user",
        "setup:\n  - {run_as: '-x', commands: [a]}",
        ":3: '-x' is not a user name: use root, user or a name",
    ),
    # The line of a value in a mapping whose keys are free.
    (
        "text for one user's scripts",
        "setup:\n  root: apt",
        ":3: setup.root: must be a list, is text: write a list, each element after a dash",
    ),
    (
        "a colon in a script",
        "setup:\n  root:\n    - 'a: b'\n    - echo a: b",
        ":5: setup.root[1]: must be text, is a mapping: quote it: a colon and a space make a mapping",
    ),
    (
        "a character of no text",
        "env:\n  - A=ü\n  - A=\0",
        r":4: is not YAML: it has the character '\x00': remove it",
    ),
    (
        "nested too deep",
        f"env: {'[' * 60}{']' * 60}",
        ":2: values are nested too deeply: use fewer levels",
    ),
    (
        "a home nobody knows",
        "files:\n  - {source: ~nobody-here/x, dest: /x}",
        f":3: files: '~nobody-here/x' is not a path (Could not determine home directory): {HOST_PATH}",
    ),
    (
        "a dash too far",
        "env:\n  - A=1\n    - B=2",
        ":4: the dash belongs to the text of the line above: indent it like the dash above",
    ),
    (
        "a list for a duration",
        "timeouts:\n  setup: [1]",
        ":3: timeouts.setup: must be text, is a list: write one value",
    ),
]


def refused(root: Path, text: str | None = None, name: str = "demo") -> str:
    with pytest.raises(ConfigError) as excinfo:
        load(root, text, name)
    return str(excinfo.value)


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_config_error_is_one_line_with_place_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    assert refused(tmp_path, f"base_image: debian\n{text}\n") == FILE + expected


def independent_cases() -> dict[str, list[tuple[str, str]]]:
    """The cases by their key, without those that end the reading of a file or concern several keys."""
    cases: dict[str, list[tuple[str, str]]] = {}
    for name, text, expected in CASES:
        key = text.split(":")[0]
        alone = re.fullmatch("[a-z][a-z-]*", key) and key not in ("env", "uid") and expected.count(".yaml") == 0
        if alone and "is not YAML" not in expected and "appears twice" not in expected:
            cases.setdefault(key, []).append((name, text))
    return cases


@pytest.mark.guarantee("config-errors-together")
@pytest.mark.parametrize("number", range(max(map(len, independent_cases().values()))))
def test_config_with_error_in_each_section_reports_all(tmp_path: Path, number: int) -> None:
    expectations = {name: expected for name, _, expected in CASES}
    lines, expected = ["base_image: debian"], []
    for cases in independent_cases().values():
        name, text = cases[number % len(cases)]
        _, line, message = expectations[name].split(":", 2)
        expected.append(f"{FILE}:{int(line) + len(lines) - 1}:{message}")
        lines += text.split("\n")
    assert len(expected) > 10
    assert reported(tmp_path, {FILE: "\n".join(lines)}) == expected


def reported(root: Path, texts: dict[str, str]) -> list[str]:
    """All errors of the habitat demo, whose configs are these texts."""
    for path, text in texts.items():
        write(root, path, text)
    with pytest.raises(ConfigError) as refusal:
        load(root)
    return [str(error) for error in errors_of(refusal.value)]


def test_config_errors_of_all_layers_are_reported_in_order(tmp_path: Path) -> None:
    shared = "env:\n  - MY-VAR=x\n  - A=$B\n  - B=$A\nfiles:\n  - {source: /etc/passwd, dest: /x, mod: 1}\n"
    local = """\
        base_image: a b
        env: [my.var=1, 'C=$', USER=me and you]
        files:
          - {source: nowhere, dest: '', mode: 9, owner: a b}
          - {source: /etc/passwd, dest: $A/x}
        repos:
          - {url: '-x', path: '', depth: -1}
        tests: [nothing.sh, /etc]
        entry:
          command: $NOTHING
          ports: [x, 99999, '80', '80']
          limits: {memory: 1m, cpus: -1, pids: -1}
        """
    errors = reported(tmp_path, {"shared/config.yaml": shared, FILE: local})
    assert [error.partition(": ")[0] for error in errors] == [
        *(f"{FILE}:{line}" for line in (1, 2, 2, 2, 4, 4, 4, 4, 7, 7, 7, 8, 8, 10, 11, 11, 11, 12, 12, 12)),
        *(f"shared/config.yaml:{line}" for line in (2, 4, 6)),
    ]
    text = "\n".join(errors)
    for part in (
        "env: 'MY-VAR' is not the name of a variable",
        "env: A → B → A is a cycle",
        "files[0]: unknown key 'mod'",
        "base_image: 'a b' is not the name",
        "env: 'my.var' is not the name of a variable",
        "a lone $ in '$'",
        "USER: 'me and you' is not a user name",
        "mode '9' is not octal",
        "files: there is neither habitats/demo/nowhere nor nowhere",
        "owner 'a b' is not a user name",
        "git doesn't accept '-x' as a url",
        "repos[0].depth: must be a number of commits from 1 to 2147483647, is -1",
        "tests: /etc is not a file",
        "${NOTHING} is not set in env",
        "ports: 127.0.0.1:80 is already published",
        "memory is less than",
        "entry.limits.cpus: must be a number from 0 to 4096, is -1",
        "entry.limits.pids: must be a whole number above 0, is -1",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("MY-VAR=x", "'MY-VAR' is not the name of a variable", "use letters, digits and _ only, not beginning with a"),
        ("my.var=1", "'my.var' is not the name of a variable", "use letters, digits and _ only, not beginning with a"),
        ("1ST=x", "'1ST' is not the name of a variable", "use letters, digits and _ only, not beginning with a"),
        ("GRÖSSE=x", "'GRÖSSE' is not the name of a variable", "use letters, digits and _ only, not beginning with a"),
        ("export A=x", "'export A' is not the name of a variable", "write A=…, without export"),
        ("A =x", "'A ' is not the name of a variable", "write A=…, without spaces around the name"),
        ("=x", "there is no name before the =", "write it as NAME=value"),
        ("A", "'A' is not NAME=value", "write it as NAME=value"),
    ],
)
def test_config_env_entry_error_names_what_is_wrong_with_it(
    tmp_path: Path, text: str, problem: str, remedy: str
) -> None:
    used = "".join(f" ${name}" for name in re.findall("[A-Z]+", text, re.ASCII))  # no error of its own
    (error,) = reported(tmp_path, {FILE: f"base_image: debian\nenv:\n  - '{text}'\nentry:\n  command: echo{used}\n"})
    assert error.startswith(f"{FILE}:3: env: {problem}: {remedy}")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({FILE: "base_imge: debian"}, [":1: unknown key 'base_imge': did you mean 'base_image'?"]),
        (
            {FILE: "base_image: debian\nfiles:\n  - {source: /etc/passwd, dst: /x}"},
            [":3: files[0]: unknown key 'dst': did you mean 'dest'?"],
        ),
        (
            {FILE: "base_image: [debian]\nenv: 3"},
            [
                ":1: base_image: must be text, is a list: write one value",
                ":2: env is a value here but a list in phases/system/config.yaml:5: write a list, as there",
            ],
        ),
        (
            {FILE: "base_image: debian\nenv: [A=$B, B=$A, C=$A]\nentry: {command: $C}"},
            [":2: env: A → B → A is a cycle: write the value of B without $A"],
        ),
        (
            {FILE: "base_image: debian\nenv: [HABITAT_PATH=a, 'B=$SYSTEM_PATH']\ncaches: [$B]"},
            [":2: HABITAT_PATH: 'a' is not absolute: start it with a slash"],
        ),
        (
            {FILE: "base_image: debian\nenv: [USER=a b]\nuid: 5\nsetup: {user: ['true'], root: ['true']}"},
            [":2: USER: 'a b' is not a user name: write a name such as dev"],
        ),
        (
            {
                FILE: "base_image: debian\nsecrets:\n  - {name: T, env: A, phases: [x]}\n"
                "repos:\n  - {url: https://x/y, path: /r, token: T}"
            },
            [f":3: secret 'T': phase 'x' can't have secrets: {SECRET_PHASES}"],
        ),
    ],
)
def test_config_error_is_reported_without_its_consequences(
    tmp_path: Path, texts: dict[str, str], expected: list[str]
) -> None:
    assert reported(tmp_path, texts) == [f"{FILE}{line}" for line in expected]


def test_config_layer_that_is_not_yaml_leaves_errors_of_others(tmp_path: Path) -> None:
    texts = {
        "shared/config.yaml": "env: [",
        FILE: "base_imge: x\ndescription: !x a\nfiles: 3\nentry: {command: $HELLO}\n",
    }
    *local, shared = reported(tmp_path, texts)
    assert shared.startswith("shared/config.yaml:2:1: is not YAML: ")
    assert [error.removeprefix(FILE).split(": ")[1] for error in local] == [
        "unknown key 'base_imge'",
        "tag !x is not supported",
        "files",
    ]


def test_config_reports_at_most_fifty_errors(tmp_path: Path) -> None:
    assert len(reported(tmp_path, {FILE: "".join(f"x{number}: 1\n" for number in range(1000))})) == 50


def test_config_nested_too_deep_for_yaml_parser_is_error_with_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.yaml.*: values are nested too deeply: use fewer levels"):
        load(tmp_path, f"env: {'[' * 5000}")


@pytest.mark.parametrize("delay", ["-3", "nan", "inf"])
def test_config_startup_delay_negative_or_infinite_is_refused(tmp_path: Path, delay: str) -> None:
    message = refused(tmp_path, f"base_image: debian\nentry:\n  startup_delay: {delay}\n")
    assert message.startswith(f"{FILE}:3: ")


PLAN_SETUP = """\
setup:
  root:
    - |
    npm install -g @anthropic-ai/claude-code
    apt update && apt install -y curl wget unzip
    mkdir -p /claude-habitat/shared/tools/bin
"""


@pytest.mark.parametrize(
    "block",
    [PLAN_SETUP, "setup:\n  root:\n    - |\n    echo one\n", "setup:\n  root:\n    - |\n    a\n\nrepos: []\n"],
    ids=["of plan.md", "of one line", "before another key"],
)
def test_config_block_text_not_indented_error_has_remedy(tmp_path: Path, block: str) -> None:
    message = refused(tmp_path, f"base_image: debian\n{block}")
    assert re.match(rf"{FILE}:[5678]\b", message), message
    assert message.endswith(": the text under `- |` is not indented: indent each of its lines further than the dash"), (
        message
    )


def test_config_plan_sample_not_indented_error_has_remedy(tmp_path: Path) -> None:
    sample = (Path(__file__).parent / "plan_sample.yaml").read_text()
    message = refused(tmp_path, re.sub(r"^      (?=npm|apt|mkdir)", "    ", sample, flags=re.MULTILINE), "discourse")
    assert "the text under `- |` is not indented" in message


@pytest.mark.parametrize("text", ["- a\n", "hello\n"], ids=["list", "text"])
def test_config_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "habitats/demo/config.yaml:1: must be a mapping of keys to values, is a " in refused(tmp_path, text)


@pytest.mark.parametrize("text", ["", "description: x\n", "base_image:\n", "~\n"])
def test_config_without_base_image_and_dockerfile_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text) == (
        f"{FILE}:1: there is no base_image and no Dockerfile: "
        "add `base_image: debian:bookworm-slim`, or a Dockerfile beside it"
    )


def test_config_not_utf8_is_refused(tmp_path: Path) -> None:
    write(tmp_path, FILE).write_bytes(b"description: caf\xe9\n")
    assert refused(tmp_path) == f"{FILE}: is not UTF-8 text: save it as UTF-8"


def test_config_larger_than_1_mb_is_refused(tmp_path: Path) -> None:
    write(tmp_path, FILE).write_text("# " + "x" * 1_000_000 + "\n")
    assert refused(tmp_path) == f"{FILE}: is larger than 1,000,000 bytes: move data to other files"


def test_config_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, "base_image: debian\nenv: " + "[" * 5000 + "]" * 5000 + "\n")
    assert message.startswith(FILE)
    assert "\n" not in message


def test_config_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir(parents=True)
    assert refused(tmp_path) == f"{FILE}: can't be read (Is a directory): check that it is a file"


@pytest.mark.parametrize("name", ["Discourse", "a b", "a__-b", "-a", "a-", "ä", "a.b..c"])
def test_habitat_folder_name_invalid_for_image_is_refused(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, "base_image: debian\n", name) == (
        f"habitats/{name}: '{name}' can't name a habitat: "
        "rename the folder: use at most 200 lower-case letters and digits, with single . _ or - between them"
    )


def test_habitat_folder_without_config_and_dockerfile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "habitats" / "demo").mkdir(parents=True)
    assert refused(tmp_path) == ("habitats/demo: has neither config.yaml nor Dockerfile: add one, or remove the folder")


def test_config_layers_of_different_types_error_names_both_places(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "setup:\n  - commands: [a]\n")
    assert refused(tmp_path, "base_image: debian\nsetup:\n  root: [b]\n") == (
        f"{FILE}:2: setup is a mapping here but a list in shared/config.yaml:1: write a list, as there"
    )


def test_config_error_in_shared_layer_names_its_file(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "env:\n  - A=1\nfiles:\n  - source: nope\n    dest: /x\n")
    assert refused(tmp_path, "base_image: debian\n") == (
        "shared/config.yaml:4: files: there is neither shared/nope nor nope on the host: add it, or fix the path"
    )


def test_config_error_after_coalescing_keeps_its_line(tmp_path: Path) -> None:
    """The second element of a coalesced list is the first of its file."""
    write(tmp_path, "shared/config.yaml", "verify-fs:\n  required_files:\n    - /a\n")
    text = "base_image: debian\n\n\nverify-fs:\n  required_files:\n    - $NOPE\n"
    assert refused(tmp_path, text).startswith(f"{FILE}:6: ${{NOPE}} is not set in env")


@pytest.mark.parametrize("text", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_config_error_always_has_remedy(tmp_path: Path, text: str) -> None:
    with pytest.raises(HabitatError) as excinfo:
        load(tmp_path, f"base_image: debian\n{text}\n")
    assert excinfo.value.remedy
    assert "\n" not in str(excinfo.value)
