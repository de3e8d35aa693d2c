"""The container that the steps of a phase work in.

It is created when a step first needs it, and started when one first runs a command. Each call of the engine's file API
costs some fifty milliseconds, so files are sent in one archive, as late as possible (`pending_files`). What was read is
remembered for the next phase, also after commands: asking the engine whether a file has changed takes a millisecond
(`file_cache`, and `cache.image_files` for images).

Creating a container costs a third of a second. So the next phase continues in this one if a new one would make no
difference (`lifetime`): after a commit, the container is equal to the snapshot. Each commit writes all that the
container holds beyond the image it was created from. So a container that holds much is not reused.
"""
