"""The `secagg` command. It alone speaks to people; its modules are loaded when it runs."""


def main() -> None:
    """Run the command."""
    from .app import app

    app()
