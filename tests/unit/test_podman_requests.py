"""What Podman is told otherwise than Docker, and what is made of its answers."""

from __future__ import annotations

import io
import tarfile

import pytest

from phases.core.engine.docker_api.payloads import instruction_word
from phases.core.engine.podman_api.archives import _escape_pattern
from phases.core.engine.podman_api.containers import _podman_change
from phases.core.engine.podman_api.images import _docker_tag, listed, podman_refusal
from phases.core.engine.podman_api.mount_archives import split_by_mount
from phases.core.errors import Conflict, EngineError, NotFound

VALUES = ["plain", "", " spaces ", 'a "quoted" word', '"', "it's", "$HOME ${x} \\$", "back\\slash\\", "é ü", "a=b=c"]


def read_by_podman(change: str) -> tuple[str, str]:
    """Name and value, by Podman's rules: all is literal, but for one pair of quotes around a value."""
    instruction, _, words = change.partition(" ")
    words = words.strip()
    if instruction not in ("LABEL", "ENV"):
        return instruction, words
    name, _, value = words.partition("=")
    quoted = value.startswith('"') and value.endswith('"')
    return name, value.removesuffix('"').removeprefix('"') if quoted else value


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("instruction", ["LABEL", "ENV"])
def test_podman_change_label_or_env_keeps_any_value(instruction: str, value: str) -> None:
    change = _podman_change(f"{instruction} some.name={instruction_word(value)}")
    assert read_by_podman(change) == ("some.name", value)


@pytest.mark.parametrize("value", ["/", "/a b ", "/it's", '/"q"', "/$HOME", "/back\\slash"])
def test_podman_change_workdir_keeps_special_characters(value: str) -> None:
    name, read = read_by_podman(_podman_change(f"WORKDIR {instruction_word(value)}"))
    assert (name, read) == ("WORKDIR", f"{value}/.")


@pytest.mark.parametrize("change", ['CMD ["a \\"b\\" $x"]', "ENTRYPOINT []", "EXPOSE 80", 'VOLUME ["/a"]'])
def test_podman_change_without_shell_words_is_unchanged(change: str) -> None:
    assert _podman_change(change) == change


@pytest.mark.parametrize(
    ("tag", "plain"),
    [
        ("localhost/habitat-x:1-base", "habitat-x:1-base"),
        ("docker.io/library/debian:12", "debian:12"),
        ("docker.io/somebody/tool:1", "docker.io/somebody/tool:1"),
        ("localhost:5000/tool:1", "localhost:5000/tool:1"),
        ("quay.io/localhost/x:1", "quay.io/localhost/x:1"),
    ],
)
def test_podman_image_tag_is_shortened_as_by_docker(tag: str, plain: str) -> None:
    assert _docker_tag(tag) == plain


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (500, 'creating container storage: the container name "x" is already in use by 0123', Conflict),
        (500, "can only create exec sessions on running containers: container state improper", Conflict),
        (500, "x not found: layer not known", NotFound),
        (500, 'locating image with ID "x": image not known', NotFound),
        (404, "no such image", NotFound),
        (409, "image is in use", Conflict),
        (500, "rootlessport listen tcp 127.0.0.1:80: bind: address already in use", EngineError),
        (400, "layer not known", EngineError),
    ],
)
def test_podman_error_maps_to_error_class_of_docker(status: int, reason: str, kind: type[EngineError]) -> None:
    error = podman_refusal("doing so", status, reason)
    assert type(error) is kind
    assert error.message == f"doing so: {reason}"


def test_podman_path_with_star_is_refused_and_other_pattern_signs_escaped() -> None:
    assert _escape_pattern("/a[1]?\\b") == "/a\\[1\\]\\?\\\\b"
    with pytest.raises(EngineError, match="a path with a \\* in it"):
        _escape_pattern("/a*")


# Archives by mount


def tar(*names: str) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type, info.size = (tarfile.DIRTYPE, 0) if name.endswith("/") else (tarfile.REGTYPE, 3)
            archive.addfile(info, io.BytesIO(name[-3:].encode()))
    file.seek(0)
    return file


def split(archive: io.BytesIO, folder: str, *mounts: str) -> dict[str, dict[str, bytes]]:
    actual: dict[str, dict[str, bytes]] = {}
    with split_by_mount(archive, folder, mounts) as parts:
        for where, part in parts:
            with tarfile.open(fileobj=part) as read:
                files = {member.name: read.extractfile(member) for member in read}
                actual[where] = {name: file.read() if file else b"" for name, file in files.items()}
    return actual


def test_archive_without_mounted_members_is_passed_unchanged() -> None:
    archive = tar("etc/note", "datax/no")
    with split_by_mount(archive, "/", ["/data"]) as parts:
        assert parts == [("/", archive)]
        assert archive.tell() == 0


def test_archive_members_go_to_innermost_mount() -> None:
    archive = tar("own", "data/", "data/one", "data/in/two", "/abs/six", "data/../ten")
    assert split(archive, "/", "/data", "/data/in", "/abs") == {
        "/": {"own": b"own", "data/../ten": b"ten"},
        "/abs": {"six": b"six"},
        "/data": {".": b"", "one": b"one"},
        "/data/in": {"two": b"two"},
    }


def test_archive_for_folder_above_mount_is_split_at_mount() -> None:
    assert split(tar("a/one", "b/two"), "/srv", "/srv/b") == {"/srv": {"a/one": b"one"}, "/srv/b": {"two": b"two"}}


def test_podman_list_of_images_is_asked_for_again_if_one_is_removed_meanwhile() -> None:
    answers: list[EngineError | list[str]] = [EngineError("listing images: image not known"), ["image"]]

    def ask() -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, EngineError):
            raise answer
        return answer

    assert listed(ask) == ["image"]


def test_podman_list_of_images_that_stays_refused_is_error() -> None:
    asked: list[int] = []

    def ask() -> list[str]:
        asked.append(1)
        raise EngineError("image not known" if len(asked) < 3 else "disk full")

    with pytest.raises(EngineError, match="disk full"):
        listed(ask)
