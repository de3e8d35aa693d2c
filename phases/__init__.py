"""Habitats: Docker development environments for AI agents, built in fixed phases.

    registry.py          the phases, in order
    dodo.py              the tasks of doit: each phase and verb of each habitat
    protocol.py          what a phase is, and the steps that it may ask for
    p00_dockerfile.py    …
    p12_final.py         one module per phase: its slice, and its plan
    core/                what carries the phases out
        config/          from config.yaml in three layers to a habitat
        files/           files of the host: opened, hashed, archived and locked
        engine/          the engine, and the clients for Docker and Podman
        container/       the program's own processes and paths in a container
        secrets/         secrets and the SSH agent
        cache/           slices, stamps and snapshots: what is still up to date
        build/           builds a habitat
        runtime/         runs a habitat: its container, sessions and commands
        scaffold/        `habitat new`
        migrate/         `habitat migrate`
        eject/           `habitat eject`
        report/          plan, status and disk usage
    scripts/             the shell programs of phases
    ui/                  the program `habitat`, doit's commands, verbs, and the output
    system/              the system layer: config.yaml and tools of every habitat

docs/architecture.md describes each package. tests/unit/test_architecture.py says what each may import.
"""
