"""The persistent data of a habitat: a named volume for each path of `entry.persist`.

A folder is the volume itself. A single file is in a volume of its own, with a link at its path: a mounted file can't be
replaced by a rename, and a volume for the folder above would hold too much. A program that writes through the link
writes to the volume. If a program replaces the link, its file is collected (`collect`) when a session ends, and before
the container is started, stopped, set aside or removed.

A container gets the habitat's name only after its volumes are filled (`create`). So in a container with that name, a
file in the place of a link is newer than the link.
"""
