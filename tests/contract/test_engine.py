"""The engine protocol's contract: one suite, on the fake of the unit tests, on the real engine, on that as if it
were another machine's, with TLS, and on Podman.
"""

from __future__ import annotations

import gc
import io
import re
import tarfile
import tempfile
import time
import uuid
import warnings
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from select import select as readable
from typing import TYPE_CHECKING, Any

import pytest
from conftest import PREFIX, wait_until
from fake_engine import FakeEngine
from msgspec.structs import replace
from podman_engine import PodmanEngine
from tls_engine import TlsEngine

from phases.core.container.init_process import IDLE_FOR_PROBE
from phases.core.container.side_effects import SideEffectProbe
from phases.core.engine import select
from phases.core.engine.confinement.restrictions import ContainerLimits, Restrictions, network_of
from phases.core.engine.docker_api.client import DockerEngine
from phases.core.engine.podman_api.client import Podman
from phases.core.engine.timeouts import ResponseTimeout
from phases.core.engine.types import LARGEST_FILE, Bind, Confided, PathInfo, PortRefused, Stat, Tmpfs, VolumeMount
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound, PhaseTimeout
from phases.core.files.tar import DockerfileArchive
from phases.core.port import Port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phases.core.engine.protocol import Engine, Exec
    from phases.core.engine.types import ImageSize

# A socket that garbage collection closes would fail whichever test is running then; it is one test's
# business, below.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.guarantee("podman-works", "remote-engine-over-tls"),
]

IDLE = ("/bin/sh", "-c", "sleep 600")
ABSENT = f"{PREFIX}-nobody"


@dataclass
class EngineUnderTest:
    """An engine with a base image, and names that are nobody else's; what it makes is taken away."""

    engine: Engine
    base: str
    names: str = field(default_factory=lambda: f"{PREFIX}-{uuid.uuid4().hex[:8]}")
    made: list[str] = field(default_factory=list)

    def container(self, suffix: str = "c", command: tuple[str, ...] = IDLE, **wishes: object) -> str:
        return self.engine.create(self.base, f"{self.names}-{suffix}", command, **wishes)  # type: ignore[arg-type]

    def started(self, suffix: str = "c") -> str:
        container = self.container(suffix)
        self.engine.start(container)
        return container

    def tag(self, suffix: str = "built") -> str:
        return f"{self.names}:{suffix}"

    def commit(self, container: str, *changes: str) -> str:
        image = self.engine.commit(container, changes)
        self.made.append(image)
        return image

    def image(self, suffix: str, *changes: str) -> str:
        """An image of its own under a tag, that nothing uses. Returns its id."""
        container = self.container(f"image-{suffix}")
        image = self.commit(container, *changes)
        self.engine.tag(image, self.tag(suffix))
        self.engine.remove(container)
        return image

    def is_size(self, reported: int, size: int) -> bool:
        """Return whether a size that the engine reported is that of so many bytes.

        Podman also counts the heads and ends of archives, and configs.
        """
        return size <= reported < size + (4096 if isinstance(self.engine, Podman) else 1)

    def refused(self) -> AbstractContextManager[Any]:
        """What an archive that leads out of its folder comes to. Podman unpacks it, in the folder."""
        return nullcontext() if isinstance(self.engine, Podman) else pytest.raises(EngineError)

    def ids(self) -> set[str]:
        return {image.id for image in self.engine.images()}

    def has_ended(self, suffix: str) -> bool:
        """Whether a container that is about to end has, within seconds."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            container = self.engine.container(f"{self.names}-{suffix}")
            if container and not container.running:
                return True
            time.sleep(0.05)
        return False

    def execute(self, container: str, script: str, **wishes: object) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        parts: dict[bool, bytes] = {False: b"", True: b""}

        def on_output(data: bytes, is_err: bool) -> None:
            parts[is_err] += data

        argv = ("/bin/sh", "-c", script)
        code = self.engine.exec(container, argv, on_output=on_output, **wishes)  # type: ignore[arg-type]
        return code, parts[False].decode(), parts[True].decode()

    def watch(self, container: str, script: str) -> tuple[int, bytes, bytes, bool]:
        """Exit code, stdout, stderr, and whether the container is settled."""
        parts: dict[bool, bytes] = {False: b"", True: b""}

        def on_output(data: bytes, is_err: bool) -> None:
            parts[is_err] += data

        watch = SideEffectProbe(on_output)
        code = self.engine.exec(container, watch.argv(("/bin/sh", "-c", script)), on_output=watch.feed)
        is_settled = watch.end()
        return code, parts[False], parts[True], is_settled

    def clear(self) -> None:
        assert self.names.startswith(PREFIX)
        for container in self.engine.containers(name_prefix=self.names):
            self.engine.remove(container.id)
        for volume in self.engine.volumes(label=f"habtest.of={self.names}"):
            self.engine.remove_volume(volume.name)
        for image in self.engine.images():
            for tag in image.tags:
                if tag.startswith(f"{self.names}:"):
                    self.engine.untag(tag)
        for made in reversed(self.made):
            self.engine.remove_image(made)


@pytest.fixture(scope="module")
def tls_engine(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsEngine]:
    with TlsEngine(tmp_path_factory.mktemp("project")) as tls_engine:
        tls_engine.import_image(busybox)
        yield tls_engine


@pytest.fixture(scope="module")
def podman(busybox: str) -> Iterator[PodmanEngine]:
    with PodmanEngine() as podman:
        podman.import_image(busybox)
        yield podman


@pytest.fixture(
    params=["fake", *(pytest.param(name, marks=pytest.mark.engine) for name in ("real", "tls_engine", "podman"))]
)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineUnderTest]:
    if request.param == "real":
        target = EngineUnderTest(request.getfixturevalue("engine"), request.getfixturevalue("busybox"))
    elif request.param != "fake":
        for name, value in request.getfixturevalue(request.param).env.items():
            monkeypatch.setenv(name, value)
        target = EngineUnderTest(select.connect(), request.getfixturevalue("busybox"))
    else:
        fake = FakeEngine()
        target = EngineUnderTest(fake, "busybox:1")
        fake.add_image("busybox:1")
    yield target
    target.clear()


def archive(*members: tuple[str, bytes, int, int, int], links: dict[str, str] | None = None) -> io.BytesIO:
    """A tar. members: name (a folder's ends with a slash), content, mode, uid, gid; links: name to target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content, mode, uid, gid in members:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size, info.mode, info.uid, info.gid = len(content), mode, uid, gid
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(info)
        end = tar.offset + 2 * tarfile.BLOCKSIZE
    buffer.truncate(end)  # as the program's own end: Podman breaks off what follows
    buffer.seek(0)
    return buffer


@contextmanager
def context(dockerfile: str, **files: str) -> Iterator[DockerfileArchive]:
    """A build context, as a real file: the docker command reads it as its stdin."""
    members = {"Dockerfile": dockerfile, **files}.items()
    with tempfile.TemporaryFile() as spool:
        spool.write(archive(*((name, text.encode(), 0o644, 0, 0) for name, text in members)).getvalue())
        spool.seek(0)
        yield DockerfileArchive(spool)


# Images


def test_platform_is_operating_system_and_architecture(target: EngineUnderTest) -> None:
    assert re.fullmatch(r"linux/[a-z0-9]+", target.engine.platform())


def test_image_is_listed_with_tags_and_labels(target: EngineUnderTest) -> None:
    new_image = target.image("one", 'LABEL habtest.colour="red"', 'LABEL habtest.empty=""')
    target.engine.tag(new_image, target.tag("two"))
    (actual,) = [image for image in target.engine.images() if image.id == new_image]
    assert sorted(actual.tags) == [target.tag("one"), target.tag("two")]
    assert {key: actual.labels[key] for key in ("habtest.colour", "habtest.empty")} == {
        "habtest.colour": "red",
        "habtest.empty": "",
    }


def test_image_label_keeps_special_characters_and_30000_bytes(target: EngineUnderTest) -> None:
    """Quoted as an instruction wants it."""
    value = "a \"b\" 'c' $HOME ${x} \\n \\" + "\\" * 30_000
    quoted = "".join(f"\\{sign}" if sign in '\\$"' else sign for sign in value)
    new_image = target.image("one", f'LABEL habtest.signs="{quoted}"')
    (actual,) = [image for image in target.engine.images() if image.id == new_image]
    assert actual.labels["habtest.signs"] == value


def test_image_config_of_absent_image_is_none(target: EngineUnderTest) -> None:
    assert target.engine.image_config(target.tag("absent")) is None
    assert target.engine.image_config("sha256:" + "0" * 64) is None


def test_image_config_by_tag_and_by_id_is_equal(target: EngineUnderTest) -> None:
    image = target.image("one")
    by_tag, by_id = target.engine.image_config(target.tag("one")), target.engine.image_config(image)
    assert by_tag is not None
    assert by_tag.id == image
    assert by_tag == by_id


def test_tag_moved_leaves_old_image_untagged(target: EngineUnderTest) -> None:
    first, second = target.image("first"), target.image("second")
    target.engine.tag(second, target.tag("first"))
    tags = {image.id: sorted(image.tags) for image in target.engine.images()}
    assert tags[second] == [target.tag("first"), target.tag("second")]
    assert tags[first] == []


def test_tag_of_absent_image_raises_not_found(target: EngineUnderTest) -> None:
    with pytest.raises(NotFound):
        target.engine.tag("sha256:" + "0" * 64, target.tag("one"))


def test_untag_of_last_tag_removes_image(target: EngineUnderTest) -> None:
    image = target.image("one")
    target.engine.tag(image, target.tag("two"))
    target.engine.untag(target.tag("one"))
    assert image in target.ids()
    target.engine.untag(target.tag("two"))
    assert image not in target.ids()


def test_untag_of_absent_tag_is_no_error(target: EngineUnderTest) -> None:
    image = target.image("one")
    target.engine.untag(target.tag("absent"))
    assert image in target.ids()


def test_untag_keeps_image_of_stopped_container(target: EngineUnderTest) -> None:
    image = target.image("one")
    target.engine.create(target.tag("one"), f"{target.names}-user", IDLE)
    target.engine.untag(target.tag("one"))
    assert target.engine.image_config(target.tag("one")) is None
    assert target.engine.image_config(image) is not None


def test_untag_keeps_image_of_running_container(target: EngineUnderTest) -> None:
    image = target.image("one")
    container = target.engine.create(target.tag("one"), f"{target.names}-user", IDLE)
    target.engine.start(container)
    target.engine.untag(target.tag("one"))
    assert target.engine.image_config(target.tag("one")) is None
    assert target.engine.image_config(image) is not None


def test_untag_keeps_image_that_is_parent_of_another(target: EngineUnderTest) -> None:
    lower = target.image("lower")
    container = target.engine.create(lower, f"{target.names}-upper", IDLE)
    upper = target.commit(container)
    target.engine.tag(upper, target.tag("upper"))
    target.engine.remove(container)
    target.engine.untag(target.tag("lower"))
    assert target.engine.image_config(lower) is not None
    assert lower not in target.ids(), "an intermediate image is not listed"
    target.engine.untag(target.tag("upper"))
    assert target.engine.image_config(lower) is None, "it goes with the last that rests on it"


def test_remove_image_used_by_container_returns_false(target: EngineUnderTest) -> None:
    image = target.image("one")
    container = target.engine.create(image, f"{target.names}-user", IDLE)
    target.engine.untag(target.tag("one"))
    assert target.engine.remove_image(image) is False
    target.engine.remove(container)
    assert target.engine.remove_image(image) is True
    assert target.engine.image_config(image) is None


def test_remove_image_with_tag_returns_false(target: EngineUnderTest) -> None:
    image = target.image("one")
    assert target.engine.remove_image(image) is False
    assert target.engine.image_config(target.tag("one")) is not None


def test_commit_comment_is_not_inherited_by_child_image(target: EngineUnderTest) -> None:
    """Unlike a label, which what is made from the image inherits."""
    first = target.engine.commit(target.container(), [], "a comment")
    config = target.engine.image_config(first)
    assert config is not None
    assert config.comment == "a comment"
    target.engine.tag(first, target.tag("first"))
    container = target.engine.create(first, f"{target.names}-second", IDLE)
    second = target.engine.image_config(target.commit(container))
    assert second is not None
    assert second.comment == ""


def test_remove_image_that_is_parent_returns_false(target: EngineUnderTest) -> None:
    lower = target.image("lower")
    container = target.engine.create(lower, f"{target.names}-upper", IDLE)
    target.commit(container)
    target.engine.remove(container)
    target.engine.untag(target.tag("lower"))
    assert target.engine.remove_image(lower) is False


def test_remove_image_absent_is_no_error(target: EngineUnderTest) -> None:
    assert target.engine.remove_image("sha256:" + "0" * 64) is True


def test_pull_of_unknown_image_raises_engine_error(target: EngineUnderTest) -> None:
    with pytest.raises(EngineError):
        target.engine.pull("localhost:1/habtest/absent:1", lambda *_: None)


# What they take


def stored(target: EngineUnderTest, image: str) -> ImageSize:
    (size,) = [size for size in target.engine.stored() if size.id == image]
    return size


def grown(target: EngineUnderTest, image: str, suffix: str, size: int) -> str:
    """An image made from another, with a file more under its own tag. Returns its id."""
    container = target.engine.create(image, f"{target.names}-{suffix}", IDLE)
    target.engine.put_archive(container, "/etc", archive((suffix, b"x" * size, 0o644, 0, 0)))
    new_image = target.commit(container)
    target.engine.tag(new_image, target.tag(suffix))
    target.engine.remove(container)
    return new_image


def test_image_size_is_parent_size_plus_own_layer(target: EngineUnderTest) -> None:
    lower = grown(target, target.base, "lower", 3000)
    upper = grown(target, lower, "upper", 5000)
    assert stored(target, upper).parent == lower
    assert target.is_size(stored(target, upper).size - stored(target, lower).size, 5000)
    target.engine.untag(target.tag("lower"))
    assert lower not in target.ids()
    assert target.is_size(stored(target, upper).size - stored(target, lower).size, 5000), (
        "one that another rests on is told of"
    )
    created = stored(target, upper).created
    assert created is not None
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60


def test_image_layers_begin_with_those_of_parent(target: EngineUnderTest) -> None:
    lower = grown(target, target.base, "lower", 3000)
    one, other = grown(target, lower, "one", 5000), grown(target, lower, "other", 6000)
    shared = target.engine.layers(lower)
    assert target.is_size(shared[-1].size, 3000)
    assert target.engine.layers(one)[: len(shared)] == shared == target.engine.layers(other)[: len(shared)]
    (own,), (others,) = target.engine.layers(one)[len(shared) :], target.engine.layers(other)[len(shared) :]
    assert target.is_size(own.size, 5000)
    assert target.is_size(others.size, 6000)
    assert own.id != others.id
    assert target.is_size(stored(target, one).size, sum(layer.size for layer in target.engine.layers(one)))


def test_image_layers_of_dockerfile_begin_with_those_of_base(target: EngineUnderTest) -> None:
    with context(f"FROM {target.base}\nCOPY greeting /greeting\n", greeting="x" * 4000) as tar:
        image = target.engine.build(tar, target.tag(), lambda _: None)
    own = [layer for layer in target.engine.layers(image) if layer not in target.engine.layers(target.base)]
    assert target.is_size(sum(layer.size for layer in own), 4000)


def test_image_layers_of_absent_image_raise_not_found(target: EngineUnderTest) -> None:
    with pytest.raises(NotFound):
        target.engine.layers("sha256:" + "0" * 64)


# Building a Dockerfile


def test_build_dockerfile_creates_image(target: EngineUnderTest) -> None:
    lines: list[str] = []
    with context(f"FROM {target.base}\nCOPY greeting /greeting\nENV COLOUR=red\n", greeting="hello") as tar:
        image = target.engine.build(tar, target.tag(), lines.append)
    config = target.engine.image_config(target.tag())
    assert config is not None
    assert config.id == image
    assert config.env["COLOUR"] == "red"
    assert lines
    container = target.engine.create(image, f"{target.names}-built", IDLE)
    assert target.engine.read_file(container, "/greeting") == b"hello"


def test_build_named_dockerfile_copies_its_context_without_hidden_files(
    target: EngineUnderTest, tmp_path: Path
) -> None:
    text = f"FROM {target.base}\nCOPY . /all/\n"
    names = ("dev.file", ".dockerignore")
    with context("FROM nowhere\n", **{names[0]: text, names[1]: "\n".join(names), "greeting": "hello"}) as source:
        hidden = DockerfileArchive(source.tar, names[0], names, tmp_path)
        image = target.engine.build(hidden, target.tag(), lambda _: None)
    container = target.engine.create(image, f"{target.names}-built", IDLE)
    assert target.engine.read_file(container, "/all/greeting") == b"hello"
    assert target.engine.read_file(container, "/all/Dockerfile") == b"FROM nowhere\n"
    assert [target.engine.stat(container, f"/all/{name}") for name in names] == [None, None]


def test_read_file_larger_than_limit_is_refused(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(container, "/etc", archive(("passwd", b"x" * (LARGEST_FILE + 1), 0o644, 0, 0)))
    with pytest.raises(EngineError, match="reading '/etc/passwd': it is larger than 16 MB"):
        target.engine.read_file(container, "/etc/passwd")


def test_build_failing_dockerfile_raises_engine_error(target: EngineUnderTest) -> None:
    with context(f"FROM {target.base}\nRUN exit 3\n") as tar, pytest.raises(EngineError):
        target.engine.build(tar, target.tag(), lambda _: None)


# Containers


def test_container_is_created_started_stopped_and_removed(target: EngineUnderTest) -> None:
    states = []

    def look() -> None:
        current = target.engine.container(f"{target.names}-c")
        states.append(current.running if current else None)

    look()
    container = target.container()
    look()
    target.engine.start(container)
    look()
    target.engine.stop(container, grace=0)
    look()
    target.engine.start(container)
    look()
    target.engine.remove(container)
    look()
    assert states == [None, False, True, False, True, None]


def test_container_since_time_changes_with_its_state(target: EngineUnderTest) -> None:
    def since() -> datetime:
        current = target.engine.container(f"{target.names}-c")
        assert current is not None
        assert current.since is not None
        return current.since

    container = target.container()
    times = [datetime.now(UTC) - timedelta(seconds=60), since()]
    for change in (target.engine.start, lambda container: target.engine.stop(container, grace=0), target.engine.start):
        change(container)
        times.append(since())
    times.append(datetime.now(UTC) + timedelta(seconds=60))
    assert times == sorted(set(times))


def test_container_has_image_labels_and_command(target: EngineUnderTest) -> None:
    image = target.image("one", 'LABEL habtest.of="image"')
    target.engine.create(target.tag("one"), f"{target.names}-c", IDLE, labels={"habtest.own": "yes"})
    container = target.engine.container(f"{target.names}-c")
    assert container is not None
    assert (container.name, container.image, container.command) == (f"{target.names}-c", image, IDLE)
    assert (container.labels["habtest.own"], container.labels["habtest.of"]) == ("yes", "image")


def test_container_label_overrides_image_label_and_is_committed(target: EngineUnderTest) -> None:
    image = target.image("one", 'LABEL habtest.of="image"', 'LABEL habtest.kept="yes"')
    config = target.engine.image_config(image)
    assert config is not None
    assert (config.labels["habtest.of"], config.labels["habtest.kept"]) == ("image", "yes")
    names = {"habtest.of": "", 'habtest.odd "name"\n': ""}
    container = target.engine.create(image, f"{target.names}-c", IDLE, labels=names)
    current = target.engine.container(container)
    assert current is not None
    assert names.items() <= current.labels.items()
    after = target.engine.image_config(target.commit(container))
    assert after is not None
    assert (names | {"habtest.kept": "yes"}).items() <= after.labels.items()


def test_create_with_taken_name_raises_conflict(target: EngineUnderTest) -> None:
    target.container()
    with pytest.raises(Conflict):
        target.container()


def test_create_from_absent_image_raises_not_found(target: EngineUnderTest) -> None:
    with pytest.raises(NotFound):
        target.engine.create(target.tag("absent"), f"{target.names}-c", IDLE)


def test_create_with_missing_bind_source_raises_engine_error(target: EngineUnderTest, tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        target.container(mounts=[Bind(str(tmp_path / "absent"), "/data", readonly=True)])


def test_bind_mount_is_visible_in_container_and_not_committed(target: EngineUnderTest, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("from the host")
    container = target.container(mounts=[Bind(str(tmp_path), "/data", readonly=True)])
    target.engine.start(container)
    assert target.execute(container, "cat /data/note") == (0, "from the host", "")
    image = target.commit(container)
    other = target.engine.create(image, f"{target.names}-other", IDLE)
    assert target.engine.read_file(other, "/data/note") is None


def published(target: EngineUnderTest, suffix: str = "c") -> tuple[Port, ...]:
    container = target.engine.container(f"{target.names}-{suffix}")
    assert container
    (listed,) = [one for one in target.engine.containers(name_prefix=target.names) if one.id == container.id]
    assert listed.ports == container.ports
    return container.ports


def test_ports_are_published_while_container_runs(target: EngineUnderTest) -> None:
    ports = [Port(80, "tcp"), Port(81, "tcp", "::1"), Port(53, "udp", "0.0.0.0"), Port(53, "tcp")]
    container = target.container(ports=ports)
    assert published(target) == ()
    target.engine.start(container)
    actual = published(target)
    assert [(port.inside, port.protocol, port.ip) for port in actual] == [
        (53, "tcp", "127.0.0.1"),
        (53, "udp", "0.0.0.0"),
        (80, "tcp", "127.0.0.1"),
        (81, "tcp", "::1"),
    ]
    assert all(port.host for port in actual), "the engine picks one where 0 was asked for"
    target.engine.stop(container, grace=0)
    assert published(target) == ()
    other = target.container("other", ports=[actual[2]])
    target.engine.start(other)
    assert published(target, "other") == (actual[2],), "as it was asked for"


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_port_used_by_other_container_raises_port_refused(target: EngineUnderTest, ip: str) -> None:
    target.engine.start(target.container("holder", ports=[Port(80, "tcp", ip)]))
    (taken,) = published(target, "holder")
    second = target.container("second", ports=[Port(1, "tcp", ip), replace(taken, inside=81)])
    with pytest.raises(PortRefused) as excinfo:
        target.engine.start(second)
    assert (excinfo.value.port, excinfo.value.taken) == (replace(taken, inside=81), True)
    assert excinfo.value.message == "port is already allocated"
    assert published(target, "second") == ()
    target.engine.remove(f"{target.names}-holder")
    target.engine.start(second)
    assert len(published(target, "second")) == 2


@pytest.mark.guarantee("ports-on-localhost")
def test_port_exposed_by_image_is_not_published(target: EngineUnderTest) -> None:
    image = target.image("exposed", "EXPOSE 80", "EXPOSE 53/udp")
    target.engine.start(target.engine.create(image, f"{target.names}-c", IDLE, ports=[Port(81)]))
    assert [port.inside for port in published(target)] == [81]


def test_rename_changes_container_name(target: EngineUnderTest) -> None:
    container = target.container("old")
    target.engine.rename(container, f"{target.names}-new")
    assert target.engine.container(f"{target.names}-old") is None
    current = target.engine.container(f"{target.names}-new")
    assert current is not None
    assert current.id == container


def test_rename_to_taken_name_raises_conflict(target: EngineUnderTest) -> None:
    target.container("one")
    with pytest.raises(Conflict):
        target.engine.rename(target.container("two"), f"{target.names}-one")


@pytest.mark.parametrize(
    ("label", "prefix", "expected"),
    [
        ("", "", ["a", "b", "c"]),
        ("", "b", ["b"]),
        ("habtest.x", "", ["a", "b"]),
        ("habtest.x=1", "", ["a"]),
        ("habtest.x=1", "b", []),
        ("habtest.absent", "", []),
    ],
)
def test_containers_are_filtered_by_label_and_name_prefix(
    target: EngineUnderTest, label: str, prefix: str, expected: list[str]
) -> None:
    for suffix, labels in (("a", {"habtest.x": "1"}), ("b", {"habtest.x": "2"}), ("c", {})):
        target.container(suffix, labels=labels)
    actual = target.engine.containers(label=label, name_prefix=f"{target.names}-{prefix}")
    assert sorted(container.name for container in actual) == [f"{target.names}-{suffix}" for suffix in expected]


def test_stop_and_remove_of_absent_container_are_no_error(target: EngineUnderTest) -> None:
    target.engine.stop(ABSENT)
    target.engine.remove(ABSENT)
    assert target.engine.container(ABSENT) is None


CALLS: dict[str, Callable[[Engine], object]] = {
    "start": lambda engine: engine.start(ABSENT),
    "rename": lambda engine: engine.rename(ABSENT, f"{ABSENT}-x"),
    "commit": lambda engine: engine.commit(ABSENT, []),
    "exec": lambda engine: engine.exec(ABSENT, ["true"]),
    "exec_tty": lambda engine: engine.exec_tty(ABSENT, ["true"], user="root", workdir="/", env={}, size=(1, 1)),
    "exec_piped": lambda engine: engine.exec_piped(ABSENT, ["true"], user="root", workdir="/", env={}),
    "running_execs": lambda engine: engine.running_execs(ABSENT),
    "put_archive": lambda engine: engine.put_archive(ABSENT, "/", archive()),
    "logs": lambda engine: engine.logs(ABSENT, 1),
    "changes": lambda engine: engine.changes(ABSENT),
    "changed_bytes": lambda engine: engine.changed_bytes(ABSENT),
    "output": lambda engine: engine.output(ABSENT, lambda _: None),
}


@pytest.mark.parametrize("call", CALLS)
def test_other_calls_on_absent_container_raise_not_found(target: EngineUnderTest, call: str) -> None:
    with pytest.raises(NotFound):
        CALLS[call](target.engine)


# Volumes


def volume(target: EngineUnderTest, suffix: str, dest: str = "/kept", **wishes: Any) -> VolumeMount:
    return VolumeMount(
        f"{target.names}-{suffix}", dest, {"habtest.of": target.names, "habtest.which": suffix}, **wishes
    )


def volumes(target: EngineUnderTest) -> list[str]:
    return [
        known_volumes.name.removeprefix(f"{target.names}-")
        for known_volumes in target.engine.volumes(label=f"habtest.of={target.names}")
    ]


def test_volume_created_alone_is_listed_immediately_with_labels(target: EngineUnderTest) -> None:
    """What locks rest on: who looks after it was made sees it, and who looks after it was removed doesn't."""
    labels = {"habtest.of": target.names, "habtest.words": "build a: ünd 'b'"}
    new_volume = target.engine.create_volume(f"{target.names}-v", labels)
    assert (new_volume.name, new_volume.labels) == (f"{target.names}-v", labels)
    assert new_volume in target.engine.volumes(label="habtest.words=build a: ünd 'b'")
    assert new_volume in target.engine.volumes(label="habtest.words")
    assert target.engine.create_volume(new_volume.name, labels) == new_volume
    target.engine.remove_volume(new_volume.name)
    assert volumes(target) == []


def test_volume_survives_its_container_and_is_found_by_label(target: EngineUnderTest) -> None:
    first = target.container("1", mounts=[volume(target, "b")])
    inspected = target.engine.container(first)
    assert inspected is not None
    assert inspected.volumes == (VolumeMount(f"{target.names}-b", "/kept", copies=False),)
    target.engine.put_archive(first, "/kept", archive(("file", b"mine", 0o640, 7, 8)))
    target.engine.remove(first)
    target.container("2", mounts=[volume(target, "a", "/x")])
    assert volumes(target) == ["a", "b"]
    (known_volumes,) = [
        one for one in target.engine.volumes(label="habtest.which=b") if one.name.startswith(target.names)
    ]
    assert known_volumes.labels == {"habtest.of": target.names, "habtest.which": "b"}
    assert re.match(r"\d{4}-\d\d-\d\dT", known_volumes.made)
    assert known_volumes in target.engine.volumes()
    assert target.engine.volumes(label="habtest.of=nobody") == []
    again = target.container("3", mounts=[volume(target, "b", "/elsewhere")])
    having = {suffix: target.engine.containers(volume=f"{target.names}-{suffix}") for suffix in "abc"}
    assert {suffix: [one.name for one in known_volumes] for suffix, known_volumes in having.items()} == {
        "a": [f"{target.names}-2"],
        "b": [f"{target.names}-3"],
        "c": [],
    }
    assert target.engine.read_file(again, "/elsewhere/file") == b"mine"
    target.engine.start(again)
    assert target.execute(again, "cat /elsewhere/file") == (0, "mine", "")


def test_volume_content_is_in_no_image_and_no_change_list(target: EngineUnderTest) -> None:
    container = target.container(mounts=[volume(target, "v")])
    target.engine.put_archive(container, "/", archive(("kept/file", b"mine", 0o644, 0, 0), ("own", b"x", 0o644, 0, 0)))
    assert "/kept/file" not in [change.path for change in target.engine.changes(container)]
    image = target.commit(container)
    other = target.engine.create(image, f"{target.names}-other", IDLE)
    assert (target.engine.read_file(other, "/own"), target.engine.read_file(other, "/kept/file")) == (b"x", None)


@pytest.mark.guarantee("failed-create-leaves-no-volume")
def test_create_failure_leaves_no_volume(target: EngineUnderTest) -> None:
    with pytest.raises(NotFound):
        target.engine.create(target.tag("absent"), f"{target.names}-c", IDLE, mounts=[volume(target, "v")])
    assert volumes(target) == []
    assert target.engine.containers(name_prefix=target.names) == []


@pytest.mark.guarantee("file-copied-before-start-reaches-volumes")
def test_put_archive_before_first_start_reaches_volumes(target: EngineUnderTest) -> None:
    first = target.container("1", mounts=[volume(target, "v"), volume(target, "w", "/w")])
    members = (("kept/file", b"mine", 0o640, 7, 8), ("w/deep", b"x", 0o644, 0, 0), ("own", b"y", 0o644, 0, 0))
    target.engine.put_archive(first, "/", archive(*members))
    second = target.container("2", mounts=[volume(target, "v"), volume(target, "w", "/other")])
    places = ("/kept/file", "/other/deep", "/own")
    assert [target.engine.read_file(second, path) for path in places] == [b"mine", b"x", None]
    assert target.engine.read_file(first, "/own") == b"y"


@pytest.mark.parametrize("copies", [True, False])
def test_volume_empty_receives_image_files_if_requested(target: EngineUnderTest, copies: bool) -> None:
    container = target.container("image")
    target.engine.put_archive(
        container, "/", archive(("kept/", b"", 0o755, 7, 8), ("kept/file", b"image's", 0o644, 7, 8))
    )
    image = target.commit(container)
    made = target.engine.create(image, f"{target.names}-made", IDLE, mounts=[volume(target, "v", copies=copies)])
    assert target.engine.read_file(made, "/kept/file") == (b"image's" if copies else None)


def test_volume_with_files_keeps_its_files(target: EngineUnderTest) -> None:
    first = target.container("1", mounts=[volume(target, "v")])
    target.engine.put_archive(first, "/kept", archive(("file", b"mine", 0o644, 0, 0)))
    second = target.container("2")
    target.engine.put_archive(
        second, "/", archive(("kept/", b"", 0o755, 0, 0), ("kept/other", b"image's", 0o644, 0, 0))
    )
    container = target.engine.create(target.commit(second), f"{target.names}-made", IDLE, mounts=[volume(target, "v")])
    assert (target.engine.read_file(container, "/kept/file"), target.engine.read_file(container, "/kept/other")) == (
        b"mine",
        None,
    )


def test_remove_volume_used_by_container_raises_conflict(target: EngineUnderTest) -> None:
    container = target.container(mounts=[volume(target, "v")])
    with pytest.raises(Conflict):
        target.engine.remove_volume(f"{target.names}-v")
    assert volumes(target) == ["v"]
    target.engine.remove(container)
    target.engine.remove_volume(f"{target.names}-v")
    assert volumes(target) == []
    target.engine.remove_volume(f"{target.names}-v")


# Committing


def test_commit_changes_set_image_config(target: EngineUnderTest) -> None:
    container = target.container()
    changes = ('ENTRYPOINT ["/init", "a b"]', 'CMD ["/bin/sh", "-c", "echo \\"hi\\""]', "USER nobody", "WORKDIR /a b")
    config = target.engine.image_config(target.commit(container, *changes))
    assert config is not None
    assert config.entrypoint == ("/init", "a b")
    assert config.command == ("/bin/sh", "-c", 'echo "hi"')
    assert (config.user, config.workdir) == ("nobody", "/a b")


@pytest.mark.parametrize(
    ("changes", "entrypoint", "command"),
    [
        (("ENTRYPOINT []", 'CMD ["x"]'), (), ("x",)),
        (('ENTRYPOINT ["/init"]', "CMD []"), ("/init",), ()),
        (("ENTRYPOINT []", "CMD []"), (), IDLE),
        ((), (), IDLE),
    ],
)
def test_commit_without_command_change_keeps_command_of_container(
    target: EngineUnderTest, changes: tuple[str, ...], entrypoint: tuple[str, ...], command: tuple[str, ...]
) -> None:
    image = target.image("one", 'ENTRYPOINT ["/old"]', 'CMD ["old"]')
    container = target.engine.create(image, f"{target.names}-c", IDLE)
    config = target.engine.image_config(target.commit(container, *changes))
    assert config is not None
    assert (config.entrypoint, config.command) == (entrypoint, command)


def test_commit_change_with_escaped_dollar_keeps_dollar(target: EngineUnderTest) -> None:
    config = target.engine.image_config(target.commit(target.container(), "WORKDIR /a\\$HOME\\\\b"))
    assert config is not None
    assert config.workdir == "/a$HOME\\b"


def test_create_environment_is_in_committed_image(target: EngineUnderTest) -> None:
    first = target.image("one", "ENV KEPT=1", "ENV CHANGED=old")
    container = target.engine.create(first, f"{target.names}-c", IDLE, env={"CHANGED": "new $HOME = x", "ADDED": "2"})
    config = target.engine.image_config(target.commit(container))
    assert config is not None
    assert {name: config.env[name] for name in ("KEPT", "CHANGED", "ADDED")} == {
        "KEPT": "1",
        "CHANGED": "new $HOME = x",
        "ADDED": "2",
    }


def test_commit_contains_files_at_that_moment(target: EngineUnderTest) -> None:
    container = target.started()
    target.execute(container, "echo one >/note")
    image = target.commit(container)
    target.execute(container, "echo two >/note")
    other = target.engine.create(image, f"{target.names}-other", IDLE)
    assert target.engine.read_file(other, "/note") == b"one\n"
    assert target.engine.read_file(container, "/note") == b"two\n"


# Other settings for a container's files


def test_limits_change_in_place_where_engine_can(target: EngineUnderTest) -> None:
    """Podman can't, and so tells no limits. No engine takes away a limit of memory or CPUs."""
    container = target.started()
    limits = ContainerLimits(64 << 20, 500_000_000, 77)
    is_changed = target.engine.set_limits(container, limits)
    now = target.engine.container(container)
    assert now is not None
    assert now.running
    if isinstance(target.engine, Podman):
        assert (is_changed, now.limits) == (False, None)
        return
    assert (is_changed, now.limits) == (True, limits)
    if not isinstance(target.engine, FakeEngine):
        script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
        assert int(target.execute(container, script)[1]) == 64 << 20
    assert not target.engine.set_limits(container, ContainerLimits(0, 0, 0))
    assert target.engine.set_limits(container, ContainerLimits(64 << 20, 500_000_000, 0))
    now = target.engine.container(container)
    assert now is not None
    assert now.limits == ContainerLimits(64 << 20, 500_000_000, 0)


def test_container_may_have_no_right_and_the_network_of_another(target: EngineUnderTest) -> None:
    other = target.started("other")
    held = Restrictions(network=network_of(other), privileges=False, capabilities=False, read_only=True)
    mounts = [Tmpfs("/run", "mode=1777,size=1m")]
    container = target.container("held", restrictions=held, user="13", mounts=mounts)
    target.engine.start(container)
    if isinstance(target.engine, FakeEngine):
        now = target.engine._container(container)
        assert (now.restrictions, now.user) == (held, "13")
        return
    namespaces = {target.execute(one, "readlink /proc/self/ns/net")[1] for one in (other, container)}
    assert len(namespaces) == 1
    script = "grep -E 'Uid|CapBnd' /proc/1/status; touch /run/mine && stat -c %a /run; touch /x"
    code, printed, problem = target.execute(container, script, user="13")
    assert printed.split() == ["Uid:", *["13"] * 4, "CapBnd:", "0" * 16, "1777"]
    assert code != 0
    assert "Read-only file system" in problem
    target.engine.remove(container)  # Podman removes none that another one depends on


def test_changed_bytes_are_those_of_files_beyond_image(target: EngineUnderTest) -> None:
    container = target.container()
    before = target.engine.changed_bytes(container)
    target.engine.put_archive(container, "/", archive(("large", bytes(3_000_000), 0o644, 0, 0)))
    assert 3_000_000 <= target.engine.changed_bytes(container) - before < 3_100_000


def carried(target: EngineUnderTest, container: str, like: str, **labels: str) -> str:
    image = target.engine.carry(container, like, labels, f"carried for {target.names}")
    target.made.append(image)
    return image


def test_carried_image_has_files_of_container_and_config_of_other_image(target: EngineUnderTest) -> None:
    like = target.image("like", "ENV KEPT=of-image", 'CMD ["serve"]', "USER nobody", "WORKDIR /srv", "LABEL gone=1")
    env = {"KEPT": "of-container", "SECRET": "canary-1f2e"}
    container = target.engine.create(like, f"{target.names}-c", IDLE, env=env, labels={"of.container": "canary-9d"})
    target.engine.put_archive(container, "/", archive(("work", b"of a day", 0o640, 12, 34)))
    before = target.ids()
    image = carried(target, container, like, mine='with "quotes" and $HOME')
    new = {one: target.engine.image_config(one) for one in target.ids() - before}
    config, model = new[image], target.engine.image_config(like)
    assert config is not None
    assert model is not None
    assert [one for one, its in new.items() if its and its.comment == config.comment] == [image]  # others' may be new
    assert (config.command, config.user, config.workdir) == (("serve",), "nobody", "/srv")
    assert config.comment == f"carried for {target.names}"
    assert {name: value for name, value in config.env.items() if value} == model.env
    assert {name: value for name, value in config.labels.items() if value} == {"mine": 'with "quotes" and $HOME'}
    if not isinstance(target.engine, Podman):
        assert (config.env, set(config.labels)) == (model.env, {"mine"})
    other = target.engine.create(image, f"{target.names}-other", IDLE)
    assert target.engine.path_info(other, "/work", content=True) == PathInfo("file", 0o640, 12, 34, content=b"of a day")


#: Each becomes a layer above the image.
FLATTENED = (
    """
    mkdir -p /w/dir /w/gone /w/again /w/was-dir /w/d1 && rm /etc/group && echo 1 >/w/file
    echo 1 >/w/again/old; echo 1 >/w/gone/x; touch /w/was-file; echo >/w/was-dir/x; echo >/w/d1/b
    echo linked >/w/one; ln /w/one /w/two; ln /w/one /w/three; ln -s nowhere /w/link
    echo root >/w/mode; chown 12:34 /w/mode; chmod 4751 /w/mode
    """,
    """
    rm -r /w/gone /w/again /w/was-dir /w/was-file /w/one /w/d1 && echo 2 >>/w/file
    mkdir /w/was-file; echo >/w/was-file/y; echo now >/w/was-dir; mkfifo /w/pipe; touch -d @86400 /w/old
    """,
    "mkdir /w/again /w/d1; echo 3 >/w/again/new; echo >/w/d1/c; echo 3 >/w/dir/x; chmod 700 /w/dir",
)

#: Lists all files with what is to stay, and says whether two of them are one.
LISTING = """
find /w /etc/group -exec stat -c '%n %F %a %u %g %s %Y' {} + 2>&1 | sort | sed '/^.w directory/d'
cat /w/file; [ /w/two -ef /w/three ] && echo one file
"""


def test_flattened_image_has_same_files_and_one_layer_above(target: EngineUnderTest, tmp_path: Path) -> None:
    base = target.image("base")
    container = target.engine.create(base, f"{target.names}-0", IDLE)
    image = base
    for number, script in enumerate(FLATTENED, 1):
        if isinstance(target.engine, FakeEngine):
            target.engine.files(container).write(f"/w/{number}", "x")
        else:
            target.engine.start(container)
            assert target.execute(container, script)[0] == 0
            target.engine.stop(container, 0)
        image = carried(target, container, base, number=str(number))
        container = target.engine.create(image, f"{target.names}-{number}", IDLE)
    below, config = target.engine.image_config(base), target.engine.image_config(image)
    assert below is not None
    assert config is not None
    assert config.layers == below.layers + 3
    flat = target.engine.flatten(image, below.layers, tmp_path)
    target.made.append(flat)
    flattened = target.engine.image_config(flat)
    assert flattened is not None
    assert flattened.layers == below.layers + 1
    assert flattened == replace(config, id=flattened.id, layers=flattened.layers, size=flattened.size)
    again = target.engine.create(flat, f"{target.names}-flat", IDLE)
    if isinstance(target.engine, FakeEngine):
        assert target.engine.files(again).nodes == target.engine.files(container).nodes
        return
    listings = []
    for one in (container, again):
        target.engine.start(one)
        listings.append(target.execute(one, LISTING)[1].splitlines())
    assert "one file" in listings[0]
    assert listings[1] == listings[0]


# Files


def test_put_archive_keeps_mode_and_content(target: EngineUnderTest) -> None:
    container = target.started()
    members = (("box/", b"", 0o1777, 1234, 1235), ("box/tool", b"#!/bin/sh\n", 0o4750, 1234, 0))
    target.engine.put_archive(container, "/", archive(*members))
    assert target.engine.stat(container, "/box") == Stat(is_dir=True, mode=0o1777)
    tool = target.engine.stat(container, "/box/tool")
    assert tool
    assert (tool.is_dir, tool.mode) == (False, 0o4750)
    assert target.engine.read_file(container, "/box/tool") == b"#!/bin/sh\n"


def test_stat_edition_changes_with_file_content(target: EngineUnderTest) -> None:
    container = target.started()

    def edition(path: str = "/note") -> str:
        actual = target.engine.stat(container, path)
        assert actual
        return actual.edition

    assert target.execute(container, "echo one >/note")[0] == 0
    first = edition()
    assert first
    assert target.execute(container, "chmod 600 /note; echo of no concern")[0] == 0
    assert edition() == first
    assert target.execute(container, "echo two >/note")[0] == 0
    second = edition()
    assert second not in ("", first)
    target.engine.put_archive(container, "/", archive(("note", b"six\n", 0o644, 0, 0)))
    assert edition() not in ("", first, second)
    assert edition("/bin") == "", "a folder has none"
    engines_own = edition("/etc/hosts")
    assert engines_own, "the file that the engine mounts, not that of the image"
    assert target.execute(container, "echo two >/etc/hosts")[0] == 0
    assert edition("/etc/hosts") not in ("", engines_own)


def test_put_archive_keeps_owner(target: EngineUnderTest) -> None:
    container = target.started()
    target.engine.put_archive(container, "/", archive(("mine", b"x", 0o600, 1234, 1235)))
    if isinstance(target.engine, FakeEngine):
        node = target.engine.files(container).find("/mine")
        assert node is not None
        assert (node.uid, node.gid) == (1234, 1235)
    else:
        assert target.execute(container, "stat -c %u:%g /mine") == (0, "1234:1235\n", "")


def test_put_archive_into_container_not_started_works(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(container, "/etc", archive(("note", b"x", 0o644, 0, 0)))
    assert target.engine.read_file(container, "/etc/note") == b"x"


def test_put_archive_over_folder_sets_mode_and_keeps_content(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(container, "/", archive(("box/", b"", 0o755, 0, 0), ("box/kept", b"x", 0o644, 0, 0)))
    target.engine.put_archive(container, "/", archive(("box/", b"", 0o700, 0, 0)))
    assert target.engine.stat(container, "/box") == Stat(is_dir=True, mode=0o700)
    assert target.engine.read_file(container, "/box/kept") == b"x"


def test_put_archive_never_replaces_folder_by_file_or_file_by_folder(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(container, "/", archive(("box/", b"", 0o755, 0, 0), ("box/kept", b"x", 0o644, 0, 0)))
    for name in ("box", "box/kept/"):
        with pytest.raises(EngineError):
            target.engine.put_archive(container, "/", archive((name, b"", 0o644, 0, 0)))
    with pytest.raises(EngineError):
        target.engine.put_archive(container, "/", archive(links={"box": "/etc"}))
    assert target.engine.read_file(container, "/box/kept") == b"x"


def test_put_archive_member_cannot_leave_its_folder(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(container, "/", archive(("box/", b"", 0o755, 0, 0), ("out/", b"", 0o755, 0, 0)))
    for name in ("../out/escaped", "../../../../escaped", "inner/../../out/escaped"):
        with target.refused():
            target.engine.put_archive(container, "/box", archive((name, b"x", 0o644, 0, 0)))
    target.engine.put_archive(container, "/box", archive(("/out/escaped", b"x", 0o644, 0, 0)))
    assert target.engine.read_file(container, "/box/out/escaped") == b"x"
    assert [target.engine.stat(container, path) for path in ("/out/escaped", "/escaped")] == [None, None]


def test_put_archive_through_link_stays_in_container(target: EngineUnderTest, tmp_path: Path) -> None:
    """tmp_path is on the host as well, where nothing of it may arrive."""
    container = target.container()
    links = {"absolute": str(tmp_path), "upwards": "../" * 40 + str(tmp_path)[1:]}
    target.engine.put_archive(container, "/", archive((f"{tmp_path}/", b"", 0o755, 0, 0)))
    target.engine.put_archive(container, "/", archive(links=links))
    for link in links:
        target.engine.put_archive(container, "/", archive((f"{link}/{link}", b"x", 0o644, 0, 0)))
        assert target.engine.read_file(container, f"{tmp_path}/{link}") == b"x"
    assert list(tmp_path.iterdir()) == []


def test_put_archive_into_missing_folder_raises_not_found(target: EngineUnderTest) -> None:
    with pytest.raises(NotFound):
        target.engine.put_archive(target.container(), "/absent", archive(("note", b"x", 0o644, 0, 0)))


def test_read_file_follows_links(target: EngineUnderTest) -> None:
    container = target.container()
    members = (("d/", b"", 0o755, 0, 0), ("d/real", b"x", 0o644, 0, 0))
    links = {"absolute": "/d/real", "relative": "d/real", "twice": "relative", "folder": "d"}
    target.engine.put_archive(container, "/", archive(*members, links=links))
    for path in ("/absolute", "/relative", "/twice", "/folder/real"):
        assert target.engine.read_file(container, path) == b"x", path


@pytest.mark.guarantee("path-with-pattern-characters")
def test_read_file_path_with_pattern_characters_is_literal(target: EngineUnderTest) -> None:
    container = target.container()
    names = ("a[1]", "a1", "b?", "bb", "c\\d", "c\\\\d", "é ü")
    target.engine.put_archive(container, "/", archive(*((f"etc/{name}", name.encode(), 0o640, 1, 2) for name in names)))
    for name in names:
        path = f"/etc/{name}"
        assert target.engine.read_file(container, path) == name.encode(), path
        assert target.engine.stat(container, path), path
        assert target.engine.path_info(container, path) == PathInfo("file", 0o640, 1, 2), path
    assert [target.engine.read_file(container, path) for path in ("/etc/a[2]", "/etc/?", "/etc/[a]1")] == [None] * 3


def test_read_file_of_folder_or_missing_path_is_none(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(container, "/", archive(("d/", b"", 0o755, 0, 0), links={"dangling": "/absent"}))
    for path in ("/absent", "/absent/below", "/d", "/dangling"):
        assert target.engine.read_file(container, path) is None, path


def test_read_file_of_circular_link_is_none(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(container, "/", archive(links={"a": "/b", "b": "/a"}))
    assert target.engine.read_file(container, "/a") is None


def test_stat_of_link_names_its_target(target: EngineUnderTest) -> None:
    container = target.container()
    links = {"d/relative": "real", "dangling": "/absent", "chain": "d/relative"}
    target.engine.put_archive(
        container, "/", archive(("d/", b"", 0o755, 0, 0), ("d/real", b"", 0o644, 0, 0), links=links)
    )
    leads = {}
    for path in ("/d/relative", "/dangling", "/chain", "/d/real"):
        actual = target.engine.stat(container, path)
        assert actual is not None, path
        leads[path] = actual.link
    assert leads == {"/d/relative": "/d/real", "/dangling": "/absent", "/chain": "/d/real", "/d/real": ""}


def test_path_info_has_kind_owner_mode_and_content(target: EngineUnderTest) -> None:
    container = target.container()
    members = (("d/", b"", 0o1755, 7, 8), ("d/f", b"text", 0o640, 1234, 1235))
    target.engine.put_archive(container, "/", archive(*members, links={"link": "d/f", "through": "d"}))
    assert target.engine.path_info(container, "/d") == PathInfo("dir", 0o1755, 7, 8)
    assert target.engine.path_info(container, "/d/f") == PathInfo("file", 0o640, 1234, 1235)
    assert target.engine.path_info(container, "/d/f", content=True) == PathInfo(
        "file", 0o640, 1234, 1235, content=b"text"
    )
    link = target.engine.path_info(container, "/link", content=True)
    assert link
    assert (link.kind, link.uid, link.target, link.content) == ("link", 0, "d/f", b"")
    assert target.engine.path_info(container, "/through/f") == target.engine.path_info(container, "/d/f")
    assert target.engine.path_info(container, "/absent") is None
    assert target.engine.path_info(container, "/d/f/below") is None


def test_path_info_of_root_and_of_link_in_volume_follows_no_link(target: EngineUnderTest) -> None:
    container = target.container(mounts=[volume(target, "v")])
    target.engine.put_archive(container, "/kept", archive(("f", b"x", 0o644, 0, 0), links={"link": "/etc/passwd"}))
    target.engine.start(container)  # in one that doesn't run, Podman follows it, below the volume's own root
    root, link = target.engine.path_info(container, "/"), target.engine.path_info(container, "/kept/link", content=True)
    assert root
    assert (root.kind, root.uid) == ("dir", 0)
    assert link
    assert (link.kind, link.target, link.content) == ("link", "/etc/passwd", b"")


def test_path_info_of_large_folder_omits_content(target: EngineUnderTest) -> None:
    container = target.container()
    target.engine.put_archive(
        container, "/", archive(("d/", b"", 0o700, 5, 6), ("d/big", b"x" * (LARGEST_FILE + 1), 0o600, 5, 6))
    )
    assert target.engine.path_info(container, "/d") == PathInfo("dir", 0o700, 5, 6)
    assert target.engine.path_info(container, "/d/big") == PathInfo("file", 0o600, 5, 6)
    with pytest.raises(EngineError, match="larger than 16 MB"):
        target.engine.path_info(container, "/d/big", content=True)


def test_pause_allows_put_archive_and_unpause_resumes(target: EngineUnderTest) -> None:
    container = target.started()
    target.engine.pause(container)
    target.engine.pause(container)
    target.engine.put_archive(container, "/", archive(("note", b"x", 0o644, 0, 0)))
    assert target.engine.stat(container, "/note")
    target.engine.unpause(container)
    assert target.execute(container, "cat /note") == (0, "x", "")


def test_stat_of_absent_path_is_none(target: EngineUnderTest) -> None:
    container = target.container()
    for path in ("/absent", "/absent/below", "/etc/passwd/below"):
        assert target.engine.stat(container, path) is None, path


# Commands


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", (0, "", "")),
        ("exit 42", (42, "", "")),
        ("echo out", (0, "out\n", "")),
        ("echo err >&2", (0, "", "err\n")),
        ("echo out; echo err >&2; exit 3", (3, "out\n", "err\n")),
        ("cat /absent", (1, "", None)),
        ("habtest-absent", (127, "", None)),
    ],
)
def test_exec_returns_exit_code_and_output(
    target: EngineUnderTest, script: str, expected: tuple[int, str, str | None]
) -> None:
    code, out, err = target.execute(target.started(), script)
    assert (code, out) == expected[:2]
    assert err == expected[2] if expected[2] is not None else err


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo out; echo err >&2", (0, b"out\n", b"err\n", True)),
        ("echo out; echo err >&2; exit 3", (3, b"out\n", b"err\n", False)),
    ],
)
def test_exec_with_side_effect_probe_reports_settled_state(
    target: EngineUnderTest, script: str, expected: tuple[int, bytes, bytes, bool]
) -> None:
    container = target.container(command=IDLE_FOR_PROBE)
    target.engine.start(container)
    assert target.watch(container, script) == expected


def test_exec_with_side_effect_probe_in_unwatched_container_is_unsettled(target: EngineUnderTest) -> None:
    assert target.watch(target.started(), "echo out") == (0, b"out\n", b"", False)


def test_exec_runs_as_root_by_default(target: EngineUnderTest) -> None:
    container = target.started()
    passwd = b"root:x:0:0:root:/root:/bin/sh\nada:x:1234:1234::/:/bin/sh\n"
    target.engine.put_archive(container, "/etc", archive(("passwd", passwd, 0o644, 0, 0)))
    target.engine.put_archive(container, "/", archive(("tmp/", b"", 0o1777, 0, 0)))
    target.execute(container, "touch /tmp/of-root")
    assert target.execute(container, "id -un", user="ada") == (0, "ada\n", "")
    assert target.execute(container, "id -un", user="root") == (0, "root\n", "")


def test_exec_has_workdir_and_environment(target: EngineUnderTest) -> None:
    container = target.container(env={"FROM_CREATE": "1"})
    target.engine.start(container)
    actual = target.execute(container, "pwd; echo $FROM_CREATE $FROM_EXEC", workdir="/etc", env={"FROM_EXEC": "2"})
    assert actual == (0, "/etc\n1 2\n", "")


def test_exec_environment_is_not_committed(target: EngineUnderTest) -> None:
    container = target.started()
    target.execute(container, "true", env={"SECRET": "x"})
    config = target.engine.image_config(target.commit(container))
    assert config is not None
    assert "SECRET" not in config.env


@pytest.mark.guarantee("podman-stores-no-secret")
def test_exec_confided_variable_is_found_by_command(target: EngineUnderTest) -> None:
    """What it is told to be is in the file as well, which may end with newlines."""
    container = target.started()
    value = 'it\'s $HOME \\ "x"\n  two  '
    target.engine.put_archive(container, "/", archive(("etc/secret", f"{value}\n\n".encode(), 0o600, 0, 0)))
    env = {"GIVEN": Confided(value, "/etc/secret"), "PLAIN": "other"}
    assert target.execute(container, "echo $PLAIN", env=env) == (0, "other\n", "")
    if isinstance(target.engine, FakeEngine):  # it knows few commands
        return
    assert target.execute(container, 'printf %s "$GIVEN,$PLAIN,$#"', env=env) == (0, f"{value},other,0", "")
    pipe = PipedCommand(target, container, "/bin/sh", "-c", 'cat; printf %s "$GIVEN"; exit 3', env=env)
    pipe.give(b"in:")
    pipe.process.end_input()
    assert pipe.end() == (3, f"in:{value}".encode(), b"")


@pytest.mark.parametrize(
    "ask", [{"user": "nobody-here"}, {"workdir": "/no/such/folder"}, {"argv": ("/no/such/program",)}], ids=str
)
def test_exec_that_cannot_begin_returns_126_or_127(target: EngineUnderTest, ask: dict[str, Any]) -> None:
    container = target.started()
    assert target.engine.exec(container, **{"argv": ("/bin/sh", "-c", "true"), **ask}) in (126, 127)


def test_exec_in_stopped_container_raises_conflict(target: EngineUnderTest) -> None:
    container = target.container()
    with pytest.raises(Conflict):
        target.engine.exec(container, ("/bin/sh", "-c", "true"))


def test_exec_past_timeout_ends_container(target: EngineUnderTest) -> None:
    container = target.started()
    with pytest.raises(PhaseTimeout):
        target.engine.exec(container, ("/bin/sh", "-c", "sleep 60"), timeout=0.5)
    assert target.has_ended("c")


def test_exec_within_timeout_returns_exit_code(target: EngineUnderTest) -> None:
    assert target.execute(target.started(), "exit 5", timeout=60) == (5, "", "")


def test_exec_may_be_silent_longer_than_answer_timeout(
    target: EngineUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(target.engine, DockerEngine):
        monkeypatch.setattr(target.engine._http, "timeout", ResponseTimeout(1))
    output: list[bytes] = []
    argv = ("/bin/sh", "-c", "sleep 2; echo done")
    assert target.engine.exec(target.started(), argv, on_output=lambda data, _: output.append(data)) == 0
    assert b"".join(output) == b"done\n"


def test_exec_leaves_no_connection_open(target: EngineUnderTest) -> None:
    container = target.started()
    gc.collect()
    with warnings.catch_warnings(record=True) as excinfo:
        warnings.simplefilter("always")
        target.execute(container, "echo hi")
        gc.collect()
    assert [str(warning.message) for warning in excinfo if warning.category is ResourceWarning] == []


@contextmanager
def terminal(target: EngineUnderTest, container: str) -> Iterator[Exec]:
    process = target.engine.exec_tty(
        container, ("/bin/sh",), user="root", workdir="/etc", env={"TERM": "dumb"}, size=(24, 80)
    )
    try:
        yield process
    finally:
        process.close()


def test_exec_tty_streams_until_command_ends(target: EngineUnderTest) -> None:
    container = target.started()
    with terminal(target, container) as process:
        process.resize(24, 80)
        process.write(b"exit 7\n")
        seen = b""
        while (data := process.read()) is not None:
            seen += data
        assert b"exit 7" in seen
        assert process.exit_code() == 7


def answer(process: Exec, typed: bytes) -> bytes:
    """Type something, and return the same number of bytes of output, fewer if they don't come within two seconds."""
    process.write(typed)
    seen = b""
    while len(seen) < len(typed) and readable([process.fileno()], [], [], 2)[0]:
        seen += process.read() or b""
    return seen


def test_exec_tty_passes_each_key_on_at_once(target: EngineUnderTest) -> None:
    """The keys that detach can't be switched off, and the first one waits for the next key: see payloads."""
    if isinstance(target.engine, FakeEngine):  # its shell knows few commands
        return
    with terminal(target, target.started()) as process:
        process.write(b"stty raw -echo; echo rea''dy; exec cat\n")
        seen = b""
        while b"ready" not in seen:
            seen += process.read() or b""
        for byte in sorted(set(range(256)) - {0x1E}):
            assert answer(process, bytes([byte])) == bytes([byte])
        assert answer(process, b"\x10") + answer(process, b"\x11") == b"\x10\x11"
        process.write(b"\x1e")
        time.sleep(0.1)
        assert answer(process, b"x!").startswith(b"\x1ex")


class PipedCommand:
    """A command with an input, as `EngineUnderTest.execute` shows one without."""

    def __init__(self, target: EngineUnderTest, container: str, *argv: str, **how: object) -> None:
        wishes: dict[str, Any] = {"user": "root", "workdir": "/", "env": {}, **how}
        self.process = target.engine.exec_piped(container, argv, **wishes)

    def give(self, data: bytes) -> None:
        """All of it, which it takes as it comes."""
        while data:
            data = data[self.process.write(data) :]

    def end(self) -> tuple[int, bytes, bytes]:
        parts = {False: b"", True: b""}
        while (chunks := self.process.read()) is not None:
            for data, is_err in chunks:
                parts[is_err] += data
        self.process.close()
        return self.process.exit_code(), parts[False], parts[True]


def test_logs_of_container_with_log_limit_are_readable(target: EngineUnderTest) -> None:
    container = target.container(command=("/bin/sh", "-c", "echo one; sleep 600"), log_bytes=1_000_000)
    target.engine.start(container)
    wait_until(lambda: target.engine.logs(container, 5))
    assert target.engine.logs(container, 5) == ["one"]


def test_exec_piped_streams_input_and_separates_outputs(target: EngineUnderTest) -> None:
    pipe = PipedCommand(target, target.started(), "/bin/sh", "-c", "head -c 13; echo err >&2; exit 3")
    pipe.give(b"seven lines\n!")
    pipe.process.end_input()
    assert pipe.end() == (3, b"seven lines\n!", b"err\n")


@pytest.mark.parametrize("argv", [("/bin/sh", "-c", "echo 12; echo x >&2"), ("echo", "12")])
def test_exec_piped_keeps_first_output_line(target: EngineUnderTest, argv: tuple[str, ...]) -> None:
    pipe = PipedCommand(target, target.started(), *argv)
    pipe.process.end_input()
    assert pipe.end()[:2] == (0, b"12\n")


@pytest.mark.parametrize("way", [{"user": "nobody-here"}, {"workdir": "/no/such/folder"}, {"argv": "no-such-program"}])
def test_exec_piped_that_cannot_begin_returns_126_or_127(target: EngineUnderTest, way: dict[str, str]) -> None:
    argv = way.get("argv", "true")
    pipe = PipedCommand(target, target.started(), argv, **{key: value for key, value in way.items() if key != "argv"})
    pipe.process.end_input()
    code, out, err = pipe.end()
    assert code in (126, 127)
    assert not (out + err).strip().isdigit()


def test_exec_piped_passes_signal_to_command(target: EngineUnderTest) -> None:
    container = target.started()
    pipe = PipedCommand(target, container, "/bin/sh", "-c", "sleep 600")
    until = time.monotonic() + 10
    while not target.engine.running_execs(container) and time.monotonic() < until:
        time.sleep(0.1)
    if not isinstance(target.engine, FakeEngine):  # it has said who it is before it runs
        assert pipe.process.read() is not None
    pipe.process.send_signal("INT")
    assert pipe.end() == (130, b"", b"")
    assert target.engine.running_execs(container) == 0


def _counts(target: EngineUnderTest, container: str, left: int) -> bool:
    return target.engine.running_execs(container) == left


def test_running_execs_counts_commands(target: EngineUnderTest) -> None:
    container = target.started()
    assert target.engine.running_execs(container) == 0
    with terminal(target, container) as one, terminal(target, container) as two:
        assert target.engine.running_execs(container) == 2
        for left, process in ((1, one), (0, two)):
            process.write(b"exit 0\n")
            while process.read():
                pass
            # The engine reports the end of a command some milliseconds after its output ends.
            wait_until(partial(_counts, target, container, left), 5)


def test_changes_list_paths_that_differ_from_image(target: EngineUnderTest) -> None:
    container = target.started()
    assert target.engine.changes(container) == []
    target.engine.put_archive(container, "/", archive(("new/", b"", 0o755, 0, 0), ("new/file", b"x", 0o644, 0, 0)))
    target.execute(container, "echo other >/etc/group")
    changed = {change.path: change.kind for change in target.engine.changes(container)}
    assert {path: changed.get(path) for path in ("/new/file", "/etc/group", "/etc/passwd")} == {
        "/new/file": "added",
        "/etc/group": "changed",
        "/etc/passwd": None,
    }


def test_logs_return_last_lines_of_main_process(target: EngineUnderTest) -> None:
    container = target.container(command=("/bin/sh", "-c", "echo one; echo two; echo three; sleep 600"))
    target.engine.start(container)
    target.execute(container, "echo not-mine")
    assert target.engine.logs(container, 2) == ["two", "three"]


@pytest.mark.parametrize("follow", [False, True])
def test_output_returns_everything_main_process_printed(target: EngineUnderTest, follow: bool) -> None:
    nap = 1 if follow and not isinstance(target.engine, FakeEngine) else 0
    container = target.container(command=("/bin/sh", "-c", f"echo one; echo two >&2; sleep {nap}; echo three"))
    target.engine.start(container)
    assert follow or target.has_ended("c")
    seen: list[bytes] = []
    target.engine.output(container, seen.append, follow=follow)
    assert sorted(b"".join(seen).split()) == [b"one", b"three", b"two"]


def test_container_with_ended_main_process_is_not_running(target: EngineUnderTest) -> None:
    container = target.container(command=("/bin/sh", "-c", "echo done"))
    target.engine.start(container)
    assert target.has_ended("c")
    assert target.engine.logs(container, 5) == ["done"]


# Nobody there


@pytest.mark.engine  # nothing is asked of it, but `connect` is what the guard refuses
@pytest.mark.parametrize(
    "host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "nonsense://x", "ssh://nobody@127.0.0.1:1"]
)
def test_connect_to_engine_not_answering_raises_unreachable(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(EngineUnreachable) as excinfo:
        select.connect()
    assert host in excinfo.value.message
    assert "DOCKER_HOST" in excinfo.value.remedy
