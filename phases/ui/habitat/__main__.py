"""`python -m phases.ui.habitat`: the program `habitat`, where its folder is not on the PATH."""

import sys

from phases.ui.habitat.program import main

if __name__ == "__main__":
    sys.exit(main())
