"""Commands that kill, or run for long."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.kills import kills as killed_runs
from benchmarks.long_jobs import jobs_table, long_jobs
from benchmarks.long_run import long_run, quarters


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (kills, jobs, long):
        app.command(command.__name__)(command)


def kills(
    folder: Annotated[Path, typer.Argument(help="A new folder for the runs.")],
    times: Annotated[int, typer.Option(min=1, help="Number of kills.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill training runs with SIGKILL at random moments, and go on with them.

    Prints how many end bit for bit like a run that was not killed; exits with 1 if one does not.

    Example: `python -m benchmarks kills kills --times 40`
    \f
    Args:
        folder: a new folder for the runs.
        times: number of kills.
        seed: of the moments.
    """
    equal = 0
    for number, kill in enumerate(killed_runs(folder, times, seed), start=1):
        equal += not kill.faults
        said = "equal" if not kill.faults else "; ".join(kill.faults)
        print(f"{number}/{times}: {kill.case}: killed in {kill.moment}, after step {kill.after}: {said}", flush=True)
    print(f"{equal} of {times} killed runs end bit for bit like runs that were not killed")
    raise SystemExit(equal != times)


def jobs(
    folder: Annotated[Path, typer.Argument(help="A new folder for the results.")],
    command: Annotated[str, typer.Argument(help="Of cakd, in quotes, with the word OUT for its result.")],
    ranks: Annotated[int, typer.Option(min=2, help="Processes of torchrun.")] = 2,
    kills: Annotated[int, typer.Option(min=0, help="Number of kills.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Run a long job on one rank, on several, and killed again and again.

    Prints seconds, and whether all files have the same bytes; exits with 1 if not.

    Example: `python -m benchmarks jobs jobs "data cache-teacher onnx data OUT --teacher r100.onnx"`
    \f
    Args:
        folder: a new folder for the results.
        command: of cakd, with the word OUT where its result goes.
        ranks: processes of torchrun.
        kills: number of kills, at moments drawn from the time of the job.
        seed: of the moments.
    """
    found = long_jobs(folder, command, ranks, kills, seed)
    print(jobs_table(found))
    raise SystemExit(not all(run.equal for run in found))


def long(
    folder: Annotated[Path, typer.Argument(help="A new folder for the run.")],
    steps: Annotated[int, typer.Option(min=8, help="Steps of the run.")] = 2000,
    workers: Annotated[int, typer.Option(min=0, help="Workers of the loader.")] = 2,
    recipe: Annotated[str, typer.Option(help="A shipped recipe.")] = "cakd",
) -> None:
    """Measure memory and open files of a long run.

    Prints a table of the quarters of the run, all its processes together.

    Example: `python -m benchmarks long long --steps 2000`
    \f
    Args:
        folder: a new folder for the run.
        steps: number of steps.
        workers: of the loader.
        recipe: name of a shipped recipe.
    """
    print(quarters(long_run(folder, steps, workers, recipe)))
