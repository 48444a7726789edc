"""The table of `cakd recipes list`."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from insightface_cakd.recipe import Recipe, TermSpec, with_stages
from insightface_cakd.recipe.readings import reading

WIDTH = 100
HEADS = ("name", "method", "paper", "needs", "memory", "cost")
# What a recipe may need, in the order in which the table lists it.
NEEDS = {
    "emb": "the teacher's embedding",
    "map": "a feature map (or tokens) of the teacher",
    "tok": "the teacher's tokens",
    "labels": "images of one person in a batch",
    "prompts": "a Transformer as teacher",
    "centres": "the teacher's class centres (--centres)",
    "prototypes": "of the training set (--prototypes)",
    "init": "the student's weights of a first run (--init)",
}
LETTERS = (
    "memory, of a step: N images and C classes of all R ranks, D width, P positions of a map; graph: of the teacher, for its prompts; "
    "none: of the size of what is read",
    "cost, of a step: F a forward and B a backward of the teacher; look: a look-up; H: the teacher's logits, as dear as the student's",
)


def list_recipes(recipes: dict[str, Recipe]) -> str:
    """Return the table, its legend, and the changes of subfolders' recipes.

    No line is wider than 100 characters.
    """
    blocks = []
    for folder, names in groupby(recipes, key=lambda name: name.rpartition("/")[0]):
        if not folder:
            blocks += [_table([row(name, recipes[name]) for name in names]), _legend()]
        else:
            blocks.append("\n".join([folder, *_lines(f"  {name}: {recipes[name].about}" for name in names)]))
    return "\n\n".join(blocks)


def row(name: str, recipe: Recipe) -> tuple[str, ...]:
    """Return a recipe's cells in the order of `HEADS`."""
    return (name, *source(recipe), " ".join(needs(recipe)), " ".join(memory(recipe)), cost(recipe))


def source(recipe: Recipe) -> tuple[str, str]:
    """Return the method's name and its publication.

    The publication is an arXiv number or a conference, and "" if the recipe names none.
    """
    parts = [recipe.head.paper] if recipe.head is not None else [term.facts.paper for term in recipe.losses]
    paper = recipe.paper or next(iter(parts), "")
    where = re.search(r"\(([^)]*)\)", paper)
    return re.split(r"[(:;,]", paper)[0].strip(), where[1] if where else ""


def needs(recipe: Recipe) -> list[str]:
    """Return what a recipe needs, as keys of `NEEDS`."""
    found = {need for term in recipe.terms for need in _needs_of(term)}
    found |= {"prompts"} if recipe.teacher.prompts is not None else set()
    found |= {"centres"} if recipe.needs_centres else set()
    found |= {"emb"} if recipe.head is not None and recipe.head.reads_embedding else set()
    found |= {"prototypes"} if recipe.needs_prototypes else set()
    found |= {"init"} if recipe.student is not None and not recipe.student.stages else set()
    found |= {need for stage in with_stages(recipe)[1:] for need in needs(stage)} - {"init"}
    return [need for need in NEEDS if need in found]


def described_needs(recipe: Recipe) -> list[str]:
    """Return what a recipe needs, in words."""
    return [NEEDS[need] for need in needs(recipe)]


def memory(recipe: Recipe) -> list[str]:
    """Return the memory that a step needs, each kind once.

    The letters are explained in the legend of the table.
    """
    found = [term.facts.memory for term in recipe.terms]
    found += ["graph"] if recipe.teacher.prompts is not None else []
    return [text for text in dict.fromkeys(found) if text]


def cost(recipe: Recipe) -> str:
    """Return the cost of the teacher in a step.

    The letters are explained in the legend of the table.
    """
    read = [reading(term.reading) for term in recipe.terms]
    prompts = recipe.teacher.prompts
    if prompts is not None:
        anchored = any(one.prompted for one in read)
        text = f"{'2F' if anchored and prompts.plain is None else 'F'}+B"
    elif not recipe.needs_teacher:
        text = "none"
    else:
        text = "look" if recipe.teacher.network == "cached" else "F"
    return f"{text}+H" if any(one.by_class for one in read) else text


def _needs_of(term: TermSpec) -> Iterator[str]:
    read = reading(term.reading)
    if read.centres:
        yield "centres"
        return
    if term.facts.needs_labels:
        yield "labels"
    if read.part == "urfm" and not read.prompted:
        yield "tok"
    elif read.taps and term.teacher is not None:
        yield "tok" if term.projector == "map_to_tokens" else "map"
    else:
        yield "emb"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(HEADS, *rows, strict=True)]
    lines = [HEADS, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in lines
    )


def _legend() -> str:
    named = "; ".join(f"{need}: {text}" for need, text in NEEDS.items())
    return "\n".join(_lines([f"needs: {named}", *LETTERS]))


def _lines(texts: Iterable[str]) -> list[str]:
    """Return texts wrapped to the table's width, with continuation lines indented."""
    return [line for text in texts for line in textwrap.wrap(text, WIDTH, subsequent_indent="    ")]
