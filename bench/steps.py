"""Twelve phases of small steps, as a habitat and as the Dockerfile that does the same."""

from __future__ import annotations

from bench.site import BASE, PREFIX

FILES = {
    "notes.txt": "A file that is copied.\n",
    "settings/editor.conf": "tabs = 4\n",
    "tests/works.sh": "test -x ~/bin-of-mine\n",
    "tools/bin/hi": "#!/bin/sh\necho hi\n",
    "tools/install-tools.sh": '#!/bin/sh\ntouch "$HOME/tools-are-installed"\n',
}

CONFIG = f"""
base_image: {BASE}
env:
  - USER=dev
  - WORKDIR=/work
  - COLOUR=red
files:
  - {{source: notes.txt, dest: /etc/notes.txt, owner: root}}
setup:
  root:
    - echo something >/etc/something
  user:
    - install -m 755 /dev/null ~/bin-of-mine
verify-fs:
  required_files: [/etc/something, ~/bin-of-mine]
tests: [tests/works.sh]
entry:
  command: echo hello
"""

DOCKERFILE = f"""
FROM {BASE}
RUN useradd --create-home --shell /bin/bash --user-group dev
ENV COLOUR=red USER=dev WORKDIR=/work
ENV PATH=/habitat/local/tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN echo 'export COLOUR=red USER=dev WORKDIR=/work' >/etc/profile.d/habitat.sh
RUN install -d -o dev -g dev /work
WORKDIR /work
RUN install -d -o dev -g dev /habitat /habitat/system /habitat/shared /habitat/local
COPY --chown=dev:dev notes.txt settings /habitat/local/
COPY notes.txt /etc/notes.txt
RUN echo something >/etc/something
USER dev
RUN install -m 755 /dev/null ~/bin-of-mine
COPY --chown=dev:dev tools /habitat/local/tools
RUN sh /habitat/local/tools/install-tools.sh
RUN test -e /etc/something && test -e ~/bin-of-mine
COPY --chown=dev:dev tests /tmp/tests
RUN sh /tmp/tests/works.sh
CMD ["/bin/sh", "-c", "echo hello"]
"""

DEVCONTAINER = f"""{{
    "build": {{"dockerfile": "../Dockerfile", "context": "..", "options": ["--label", "{PREFIX}"]}},
    "remoteUser": "dev"
}}
"""
