"""Habitats: Docker development environments, built in fixed phases.

    registry.py          the phases, in order
    protocol.py          what a phase is, and the steps it may ask for
    p00_dockerfile.py    …
    p12_final.py         one module per phase: what it depends on, what it wants done
    core/
        config/          config.yaml × 3 → model: read, coalesced, validated, resolved section by section;
                         the model as a JSON Schema for editors
        new_habitat.py   a habitat to begin with     (new_config.py, cloning.py)
        model.py         a habitat, as its phases read it     (port.py)
        trees.py         files of the host: what is copied, what identifies it     (files.py, digests.py)
        slices.py        the part of the config that one phase depends on, and its hash     (slice_store.py, drafts.py)
        stamps.py        doit's record of what succeeded
        snapshots.py     which phases are up to date, and why not
        plans.py         what a build would run, and why     (differences.py)
        status.py        how the habitats are     (disk.py)
        engine.py        what is asked of an engine; docker_engine.py asks it in the words of its API     (asking.py,
                         docker_images.py, questions.py, answers.py, execs.py, frames.py, docker_command.py);
                         podman.py, where Podman's API differs     (mounted_archives.py); engines.py, which answers
        api.py           how both come and go, by the way that leads to the engine     (reaching.py, tls.py,
                         docker_package.py, patience.py)
        closing.py       containers are made until the run is told to stop, and removed while it goes on
        image_store.py   the images of habitats on the engine: their tags, and when they go
        build.py         carries steps out     (build_container.py, idling.py, scratch.py, contents.py, settling.py,
                         sources.py, archive.py, accounts.py, work.py); failures.py, debugging.py: what is kept where
                         one fails, and being in it     (temporary_folder.py)
        secrets.py       what no image may hold     (masking.py, ssh_agent.py)
        project.py       all of these at work in one run     (events.py, cleaning.py)
        locks.py         who of one clone is at a habitat
        engine_locks.py  locks for all who use an engine     (build_lock.py, claims.py, processes.py)
        neighbours.py    what is taken over of other habitats instead of being built     (sharing.py)
        runtime.py       being in a habitat that runs     (habitat_container.py, readiness.py, runners.py,
                         persistence.py, commands.py, throwaway.py, logs.py, stopping.py, destroying.py, shells.py);
                         guard.py, killed.py: leaving where a run was killed
        migration/       a Dockerfile, or an older config.yaml, as a config.yaml of today
        ejecting/        a habitat as a Dockerfile
        errors.py        what can go wrong
    ui/
        tasks.py         doit's tasks
        reporter.py      doit's events and ours, as a transcript     (console.py, echo.py)
        jsonl.py         the same as events for programs     (recorder.py, records.py, journal.py)
        aftermath.py     what a guard becomes when its visit was killed
        output.py        standard output, which may be gone
        terminal.py      the person's terminal, handed to the habitat's command
        verbs/           what can be done with a habitat, each a task VERB:HABITAT
        commands/        run, new, status, list, info, forget, clean     (status_table.py)
    system/              the system layer: config.yaml and tools/ of every habitat

Imports go one way: dodo → ui → core.runtime, core.project → core.build → registry → pNN → protocol
→ core.model, core.errors.
"""
