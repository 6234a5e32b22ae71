"""All commands: importing this registers them, in the order of the help page."""

from coreset.cli import stages, looking, explaining  # noqa: I001  in this order
from coreset.cli.app import app

__all__ = ["app", "explaining", "looking", "stages"]
