"""The `secagg` command. It alone speaks to people; its modules are loaded when it runs."""

import sys

from .streams import prepare_streams


def main() -> None:
    """Run the command."""
    try:
        prepare_streams()
        from .app import app

        app()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich", "typer"):
            raise
        sys.stderr.write(f"secagg: the command needs {missing}: in a checkout of secagg, pip install '.[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:  # while modules are loaded; later interrupts are told by the command
        sys.stderr.write("secagg: interrupted\n")
        sys.exit(130)
