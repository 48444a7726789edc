"""`python -m benchmarks`: benchmarks for developers.

They run in a checkout of this repository, with the package installed.
"""

import sys

import typer

from benchmarks.commands import accuracy, speed, survival
from insightface_cakd.errors import CAKDError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
for module in (speed, survival, accuracy):
    module.register(app)


def main() -> None:
    """Run a benchmark.

    A user's mistake ends with one line on stderr and exit code 1.
    """
    try:
        app()
    except CAKDError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
