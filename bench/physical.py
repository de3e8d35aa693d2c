"""What nobody who does this work can be faster than."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from bench.measure import Side, seconds
from bench.site import BASE, PREFIX

if TYPE_CHECKING:
    from bench.site import Site

NAME = "physical"
WORK = "the parts of it"

_IDLE = ("/bin/sleep", "1000")


def sides(site: Site) -> list[Side]:
    engine = site.engine
    lasting = engine.create(BASE, f"{PREFIX}-lasting", _IDLE)
    engine.start(lasting)

    def container() -> float:
        started = time.perf_counter()
        made = engine.create(BASE, f"{PREFIX}-passing", _IDLE)
        engine.start(made)
        engine.remove(made)
        return time.perf_counter() - started

    def execute() -> float:
        started = time.perf_counter()
        engine.exec(lasting, ("/bin/true",))
        return time.perf_counter() - started

    def commit() -> float:
        started = time.perf_counter()
        image = engine.commit(lasting, ())
        took = time.perf_counter() - started
        engine.remove_image(image)
        return took

    def python(code: str) -> float:
        return seconds([sys.executable, "-c", code], site.folder)

    return [
        Side("an empty container, made, started, removed", container),
        Side("a command in one that runs", execute),
        Side("a commit of nothing", commit),
        Side("Python's own start", lambda: python("pass")),
        Side("and doit imported", lambda: python("import doit.__main__")),
    ]
