"""Options of several commands, and their former names."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

BATCH = typer.Option("--batch", min=1, help="Images at a time; the result does not depend on it.")
DETECTOR = typer.Option("--detector", help="A detector with five points as .onnx, such as an SCRFD.")
DISTILL = typer.Option("--distill", help="Recipe, by name (`cakd recipes list`) or path.")
NETWORK = typer.Option(
    "--network", help="Network of the student, for example mbf; a run's folder and an .onnx know their own."
)
NAME = typer.Option("--name", help="Of the set or pack that is made.")
OUTPUT = typer.Option("--output", help="Where the results go.")
SETS = typer.Option("--sets", help="Verification sets: a .bin or a folder of them; may be given several times.")
STUDENT = typer.Option("--student", help="The recogniser, an .onnx as `cakd export` writes it.")

Batch = Annotated[int, BATCH]
BatchSize = Annotated[int, typer.Option("--batch-size", min=2, help="Images a step, of one rank.")]
Centres = Annotated[
    list[str] | None,
    typer.Option("--centres", help="Files with the teacher's class centres, in rank order, or its prototypes' folder."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Training images: a folder with train.rec, or one subfolder of aligned faces per person."
    ),
]
Detector = Annotated[Path, DETECTOR]
Device = Annotated[str | None, typer.Option("--device", help="cuda, mps or cpu; the best there is when not given.")]
Distill = Annotated[str | None, DISTILL]
Fixes = Annotated[
    list[str] | None,
    typer.Option("--fix", help="A fix of the checkout that changes results, by name; see `cakd doctor`."),
]
Host = Annotated[
    Path | None, typer.Option("--host", help="Folder of a clone of insightface, whose own arcface_torch is used.")
]
Init = Annotated[
    str | None, typer.Option("--init", help="Weights that the student starts from: an earlier run, or its model.pt.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")]
MaxCorrupt = Annotated[
    int, typer.Option("--max-corrupt", min=0, help="So many pictures that cannot be read may be left out.")
]
Network = Annotated[str | None, NETWORK]
NoFixes = Annotated[list[str] | None, typer.Option("--no-fix", help="A fix of the checkout to leave out.")]
Output = Annotated[Path, OUTPUT]
Pairs = Annotated[int, typer.Option("--pairs", help="Pairs of the verification set, half of them same.")]
Prototypes = Annotated[
    str | None, typer.Option("--prototypes", help="Folder of `cakd data prototypes`; replaces the recipe's.")
]
Quality = Annotated[int, typer.Option("--quality", min=1, max=100, help="Of JPEGs that are encoded.")]
RecipeSettings = Annotated[
    list[str] | None,
    typer.Option("--recipe-set", help="KEY=VALUE, overrides the recipe, such as losses.cosine.weight=32."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn at random.")]
Sets = Annotated[list[Path] | None, SETS]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value, overrides the config.")]
Teacher = Annotated[
    str | None, typer.Option("--teacher", help="Teacher's weights, run, ONNX file or cache; replaces the recipe's.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Of the runtimes, in the timing.")]
TrainingPrecision = Annotated[
    Literal["fp32", "bf16", "fp16"],
    typer.Option("--training-precision", help="Of the student; fp16 on CUDA only."),
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="Processes or threads; the result is the same for any number.")
]

Readers = Annotated[int, typer.Option("--readers", min=0, help="Processes that read images beside the network.")]


def _now(option: str) -> Callable[[str], list[str] | None]:
    return lambda value: [option, value]


# Command -> former option -> function from its value to the words to write now; None: the option still means this.
FORMER: dict[str, dict[str, Callable[[str], list[str] | None]]] = {
    "bench": {
        "--student": _now("--network"),
        "--teacher": lambda value: ["--recipe-set", f"teacher.network={value}"],
        "--batch": _now("--batch-size"),
        "--precision": _now("--training-precision"),
        "--records": _now("--data"),
    },
    "compare": {
        "--student": _now("--student-config"),
        "--teacher": lambda value: None if Path(value).exists() else ["--teacher-config", value],
    },
    "eval compare": {"--out": _now("--output")},
    "eval models": {"--out": _now("--output")},
    "eval ijb": {"--out": _now("--output")},
    "export": {"--bin": _now("--sets")},
    "export-runtime": {"--bin": _now("--sets")},
    "data align": {"--max-corrupt": _now("--max-corrupt-share")},
}


class Command(TyperCommand):
    """A command that accepts former names of its options too.

    For each of them it prints the present name on stderr.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace former names by present ones, and parse."""
        place, words = ctx, list[str]()
        while place.parent is not None:
            words.insert(0, str(place.info_name))
            place = place.parent
        command = " ".join(words)
        return super().parse_args(ctx, list(_today(command, args)))


def _today(command: str, args: list[str]) -> Iterator[str]:
    """Yield a command's arguments with present names; print each change once."""
    former, told = FORMER.get(command, {}), set[str]()
    waiting = iter(args)
    for word in waiting:
        option, equals, value = word.partition("=")
        if option not in former:
            yield word
            continue
        value = value if equals else next(waiting, "")
        words = former[option](value)
        if words is not None and option not in told:
            told.add(option)
            print(f"cakd {command}: {option} is now {words[0]}; write {' '.join(words)}", file=sys.stderr)
        yield from words or [option, value]


def take_former_names(app: typer.Typer) -> None:
    """Make every command of an application accept former names of options."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            take_former_names(group.typer_instance)
