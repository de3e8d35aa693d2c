"""Habitats: Docker development environments for AI agents, built in fixed phases.

    registry.py          all phases, in the order of a build
    protocol.py          what a phase is, and the steps of which it makes its plan
    p00_dockerfile.py …  one module for each phase: what it depends on, and its steps
    scripts/             the shell programs of phases
    system/              the system layer: config.yaml and tools/ of every habitat
    core/
        model.py         a habitat, as its phases read it
        events.py        what happens in a run, as data
        errors.py        all errors, as one tree
        project.py       the habitats of a clone and all that one run needs
        config/          reads and validates config.yaml of the three layers, and resolves it to the model
        files/           files of the host: trees, digests, archives, locks, atomic writing
        engine/          requests to Docker or Podman
        cache/           which phases are up to date: slices, stamps, snapshots, sharing between habitats
        container/       what the program knows of the inside of a container: users, paths, processes
        build/           runs the steps of phases
        runtime/         sessions in a running habitat: start, exec, shell, logs, stop, destroy, debug
        secrets/         secrets, which no image may hold
        report/          plan, status and disk usage
        scaffold/        `doit new`
        migrate/         converts a Dockerfile, or an old config.yaml
        eject/           writes a habitat as a Dockerfile
    ui/
        tasks.py         what dodo.py makes doit's tasks of
        reporter.py      the transcript of a run
        screen.py        lines on a terminal or in a pipe
        jsonl/           the events of a run as JSON, for programs
        verbs/           what a person can do with a habitat: VERB:HABITAT
        commands/        run, new, status, list, info, forget, clean, tabcompletion

Imports go one way: dodo → ui → core.runtime, core.project → core.build → registry → pNN → protocol
→ core.model, core.errors. CONTRIBUTING.md explains how to add a phase.
"""
