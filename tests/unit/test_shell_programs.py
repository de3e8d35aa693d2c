"""Shell programs in .sh files of the program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import phases
from phases.core.files.shell_program import ShellProgram

FOLDER = Path(phases.__file__).parent


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.sh")), ids=lambda path: path.name)
def test_shell_program_is_valid_and_begins_after_its_comment(path: Path) -> None:
    text = ShellProgram(str(path), path.name).text
    header = path.read_text().removesuffix(text)
    assert all(line.startswith("#") for line in header.splitlines())
    shell = path.read_text().partition("\n")[0].removeprefix("#!").split()[0]
    result = subprocess.run((shell, "-n"), input=text, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert path.read_text().startswith(("#!/bin/sh\n# ", "#!/bin/sh -e\n# ", "#!/bin/bash\n# "))
