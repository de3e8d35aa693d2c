"""The gate of a habitat's container: the container in its network namespace that leads to the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.container.gate_variables import PORT
from phases.core.engine.confinement.restrictions import Restrictions, network_of
from phases.core.engine.types import Tmpfs
from phases.core.entry_settings import ALLOWLIST
from phases.core.errors import Conflict, HabitatError, NotFound, StartError
from phases.core.network import proxy
from phases.core.network.image import image
from phases.core.network.proof import Proof, missed, prove
from phases.core.network.proxy import LABEL_OF, PROGRAMS

if TYPE_CHECKING:
    from phases.core.engine.types import Container, ImageConfig
    from phases.core.errors import EngineError
    from phases.core.model import Habitat
    from phases.core.project import Project

# The label of a gate: the id of the container whose network it shares.
_LABEL_FOR = "habitat.gate"

# The end of the name of a gate whose proof has not succeeded yet. A run may be killed before that.
_UNPROVED = "-unproved"

# The user "nobody" of the image.
_USER = "65534"

_MEMORY, _PIDS = 128 << 20, 32


def start_behind(project: Project, habitat: Habitat, container: Container) -> None:
    """Start a container of the habitat, and open its gate. If that fails, the container doesn't run.

    Raises:
        PortRefused: A port can't be published.
        HabitatError: The container, its gate or the proxy can't be started, or the proof fails.
    """
    from concurrent.futures import ThreadPoolExecutor  # imported late: it takes some milliseconds

    config = image(project, habitat.name)
    with ThreadPoolExecutor(1) as pool:  # the proxy starts meanwhile
        proxy_start = pool.submit(proxy.start, project, habitat, config)
        try:
            project.engine.start(container.id)
            gate = _create(project, habitat, container, config)
            proxy_start.result()
            _check(project, habitat, container, gate)
        except HabitatError:
            project.engine.stop(container.id, grace=1)
            close(project, container)
            raise


def ensure(project: Project, habitat: Habitat, container: Container) -> None:
    """Let a running container have a gate, and the proxy the rules of today's config. Raises HabitatError.

    If the config has no allowlist any more, the container keeps what it has until it is made again.
    """
    if habitat.entry.network != ALLOWLIST:
        return
    config = image(project, habitat.name)
    proxy.start(project, habitat, config, may_replace=False)
    name = _name(project, habitat, container)
    if not any(gate.running and gate.name == name for gate in _gates_of(project, container)):
        try:
            _check(project, habitat, container, _create(project, habitat, container, config))
        except HabitatError:
            _remove_gates(project, container)
            raise


def _name(project: Project, habitat: Habitat, container: Container) -> str:
    """Return the name of the gate of a container, once its proof has succeeded."""
    return f"habitat-{project.names.of(habitat.name)}--gate-{container.id[:12]}"


def _create(project: Project, habitat: Habitat, container: Container, config: ImageConfig) -> str:
    """Create and start the gate of a running container. Return its id."""
    _remove_gates(project, container)  # one of an earlier start is in a namespace that is no more
    engine, engine_name = project.engine, project.names.of(habitat.name)
    try:
        gate = engine.create(
            config.id,
            f"{_name(project, habitat, container)}{_UNPROVED}",
            (f"{PROGRAMS}/gate.sh", str(PORT), *(str(port.inside) for port in habitat.entry.ports)),
            labels={LABEL_OF: engine_name, _LABEL_FOR: container.id, **project.identity.labels},
            mounts=(proxy.volume(engine_name, project), Tmpfs("/state", "mode=1777,size=1m")),
            restrictions=Restrictions(
                privileges=False, capabilities=False, read_only=True, memory=_MEMORY, pids=_PIDS,
                network=network_of(container.id),
            ),
            user=_USER,
        )  # fmt: skip
        engine.start(gate)
    except (Conflict, NotFound) as error:
        raise _not_opened(habitat, container, error) from error
    return gate


def _not_opened(habitat: Habitat, container: Container, error: EngineError) -> StartError:
    problem = f"the gate of {container.name} can't be opened ({error.message})"
    return StartError(problem, where=habitat.name, remedy="run the same command again")


def _check(project: Project, habitat: Habitat, container: Container, gate: str) -> None:
    """Raise StartError if the network of a container doesn't hold."""
    engine = project.engine
    try:
        proofs = prove(engine, gate, learns=habitat.entry.learns)
    except (Conflict, NotFound) as error:
        raise _not_opened(habitat, container, error) from error
    if problems := missed(proofs):
        log = " / ".join(engine.logs(gate, 2))
        problem = f"its network doesn't hold: {', '.join(problems)}" + (f" ({log})" if log else "")
        raise StartError(problem, where=habitat.name, remedy="see docs/network.md, or write another entry.network")
    engine.rename(gate, _name(project, habitat, container))


def prove_again(project: Project, habitat: Habitat) -> list[Proof]:
    """Run the proof of the habitat's running container again. Raises StartError if none has a gate."""
    gates = [gate for gate in proxy.gates(project, project.names.of(habitat.name)) if gate.running]
    if not gates:
        remedy = f"`{command_form.verb('start', habitat.name)}` starts it"
        raise StartError("no container of it runs behind a gate", where=habitat.name, remedy=remedy)
    return [proof for gate in gates for proof in prove(project.engine, gate.id, learns=habitat.entry.learns)]


def close(project: Project, container: Container) -> None:
    """Remove the gate of a container, and stop the habitat's proxy unless another container needs it."""
    for habitat in {gate.labels[LABEL_OF] for gate in _remove_gates(project, container)}:
        if not proxy.gates(project, habitat):
            proxy.stop(project, habitat)


def _remove_gates(project: Project, container: Container) -> list[Container]:
    gates = _gates_of(project, container)
    for gate in gates:
        project.engine.remove(gate.id)
    return gates


def _gates_of(project: Project, container: Container) -> list[Container]:
    return project.engine.containers(label=f"{_LABEL_FOR}={container.id}")
