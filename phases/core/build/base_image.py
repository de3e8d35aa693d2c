"""Gets the image that a build begins with: pulls it from a registry, or builds a Dockerfile."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from phases.core import events
from phases.core.cache import image_labels
from phases.core.container.remedies import architecture_remedy
from phases.core.copied_files import shown_dockerfile
from phases.core.errors import EngineError, EngineUnreachable, StepError, full_disk_remedy
from phases.core.files.tar import Archive, DockerfileArchive
from phases.core.files.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.build.context import PhaseContext
    from phases.core.copied_files import DockerContext
    from phases.core.engine.types import ImageConfig
    from phases.protocol import FromDockerfile, FromImage


# How engines, and `docker build`, report that a registry needs a login, or denies access to the account that logged in.
# A registry that hides its private images reports the same for an image that doesn't exist.
_REFUSED = re.compile(
    "no basic auth credentials|unauthorized: |denied: requested access|pull access denied|authorization failed"
    "|pulling from host .* 401 "
)


class OnShownLine(Protocol):
    def __call__(self, line: str, *, show: bool) -> None: ...


def pull(work: PhaseContext, step: FromImage, write: Callable[[str], None]) -> None:
    """Pull the image, if the engine doesn't have it. write: takes lines for the log."""
    if work.engine.image_config(step.reference) is not None:
        return

    def on_pull(layer: str, status: str, done: int, total: int) -> None:
        if not total:
            write(f"{layer} {status}".strip())
        work.emit(events.Pull(work.habitat.name, step.reference, status, layer, done, total))

    try:
        work.engine.pull(step.reference, on_pull)
    except EngineUnreachable:
        raise
    except EngineError as error:
        why = error.message.removeprefix(f"pulling {step.reference}: ")
        raise EngineError(
            f"base image {step.reference} can't be pulled ({why})",
            where=step.origin,
            remedy=pull_remedy(step.reference, why),
        ) from error


def report_on_build(work: PhaseContext, step: FromImage, image: ImageConfig) -> None:
    """Warn of the ONBUILD instructions of a base image, which `docker build` would run."""
    if image.on_build:
        text = f"{step.origin}: {step.reference} has ONBUILD {image.on_build[0]}, which no habitat runs"
        remedy = "put it into setup:, or begin a Dockerfile with this image and name it by dockerfile:"
        work.emit(events.Notice(work.habitat.name, f"{text}: {remedy}", warning=True))


def pull_remedy(reference: str, why: str) -> str:
    """Return the remedy for an image that can't be pulled. why: the words of the engine."""
    if _REFUSED.search(why):
        host, slash, _ = reference.partition("/")
        # A first part without a dot or a port is no host, but an account at Docker Hub.
        registry = f" {host}" if slash and (re.search("[.:]", host) or host == "localhost") else ""
        return f"check its name, or docker login{registry}, then run the same command again"
    return full_disk_remedy(why) or "check its name and the network, or bring it with docker load"


def build(work: PhaseContext, step: FromDockerfile, on_line: OnShownLine) -> str:
    """Build the Dockerfile, and show the output as it comes. Returns the id of the image."""
    remedy = ""

    def show(line: str) -> None:
        nonlocal remedy
        remedy = remedy or _build_remedy(line) or architecture_remedy(line, work.engine.platform)
        on_line(line, show=True)

    with ExitStack() as stack:
        archive = stack.enter_context(Archive())
        hidden = _add_context(archive, step.context)
        folder = stack.enter_context(temporary_folder(work.log.parent)) if hidden else None
        context = DockerfileArchive(archive.finish(), step.context.dockerfile.path, hidden, folder)
        try:
            tag = image_labels.dockerfile_tag(work.engine_name)
            return work.engine.build(context, tag, show, work.secrets)
        except EngineUnreachable:
            raise
        except EngineError as error:
            remedy = remedy or _build_remedy(error.message) or "fix it, then run the same command"
            raise StepError(
                error.message,
                where=shown_dockerfile(work.habitat),
                remedy=f"{remedy}; log: {work.shown_log}",
            ) from error


def _add_context(archive: Archive, context: DockerContext) -> tuple[str, ...]:
    """Add a Dockerfile and its context to an archive. Return the names of the files that COPY must not find."""
    for item in context.items:
        if item.path:
            archive.add_item(item)
    name = context.dockerfile.path
    if context.has(name):
        return ()
    archive.add_item(context.dockerfile)
    if context.has(".dockerignore"):
        return (name,)
    pattern = re.sub(r"([^\w./-])", r"\\\1", name)
    archive.add(".dockerignore", "file", 0o644, content=f".dockerignore\n{pattern}\n".encode())
    return (name, ".dockerignore")


def _build_remedy(line: str) -> str:
    """Return the remedy for a line that a build printed, "" for an unknown problem."""
    if _REFUSED.search(line):
        return "check the name of its image, or docker login to the registry, then run the same command again"
    return full_disk_remedy(line)
