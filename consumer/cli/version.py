"""`orderflow version`."""

from importlib.metadata import version as version_of

import typer


def version() -> None:
    """Print the version.

    \b
    Example:
      orderflow version
    """
    typer.echo(version_of("orderflow"))
