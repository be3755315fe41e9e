"""The `secagg` command. It alone speaks to people; its modules are loaded when it runs."""

import sys

from .streams import prepare_streams


def main() -> None:
    """Run the command."""
    try:
        prepare_streams()
        from .app import app

        app()
    except KeyboardInterrupt:  # while modules are loaded; later interrupts are told by the command
        sys.stderr.write("secagg: interrupted\n")
        sys.exit(130)
