"""A command line, from its words to an exit status.

In: the words of a command line.  Out: an exit status: 0 good, 1 a check failed, 2 wrong use.
Not here: the commands (commands.py, measurements.py).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from derive.cli import commands, measurements  # noqa: F401  (they add the commands)
from derive.cli.group import derive

GOOD, FAILED, WRONG_USE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> None:
    """The `derive` command."""
    sys.exit(status(arguments))


def status(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; every mistake of the user's ends as text on standard error."""
    from derive.errors import DeriveError, ProgramError, VerificationError

    try:
        code = derive.main(
            args=None if arguments is None else list(arguments),
            prog_name="derive",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return code or GOOD
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: do not complain again at exit
        return GOOD
    except (VerificationError, ProgramError) as error:
        click.echo(str(error), err=True)
        return FAILED
    except DeriveError as error:
        click.echo(str(error), err=True)
        return WRONG_USE


if __name__ == "__main__":
    main()
