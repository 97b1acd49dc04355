"""What ends a module that is run by `python -m`."""

import sys
from collections.abc import Callable
from typing import NoReturn

from device.errors import UserError


def ended(main: Callable[[list[str]], int]) -> NoReturn:
    """Run `main` with the command line's arguments and end with its status; a UserError becomes its one sentence."""
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"busi-kd: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
