"""`python -m sailerx`."""

import sys

from sailerx.cli import main

sys.exit(main())
