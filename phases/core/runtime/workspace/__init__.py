"""The workspaces of a habitat: volumes with WORKDIR and the repositories, which outlive its containers and images.

A new volume gets the files of the image (`fill`), or those of a container that an earlier version created. `record` has
the image that each volume's files come from. When a container of another image is started, what the person hasn't
changed follows that image (`follow`), and git decides in repositories.
"""
