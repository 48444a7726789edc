"""A page of each method: from its recipes, its losses' docstrings and the lab book."""

import re
from collections.abc import Iterator
from itertools import chain

import yaml

from docs.generator import ROOT
from docs.generator.advice import advice
from docs.generator.docstrings import body, section
from docs.generator.lab_book import Gain, gains
from docs.generator.parts import parts_of
from docs.generator.values import table
from insightface_cakd.cli.recipe_table import LETTERS, NEEDS, cost, memory, needs, source
from insightface_cakd.losses import LossFacts
from insightface_cakd.recipe import Recipe, load_recipe, recipe_name, shipped_recipes
from insightface_cakd.recipe.teacher import NOBODY

# Words of a source that say that something is not the paper's.
UNSURE = re.compile(r"[Aa]ssum|inferred|\b[Oo]urs?\b|not known|unknown|not stated|not public|-style|\(own\)|additions")
INDEX = """# Methods

One page a method: what it computes, what it needs and costs, what it gained where it was measured, and where it comes from. `make pages`
writes them from the recipes, from the docstrings of the losses and from the tables of the [lab book](../lab_book/README.md), so a new
recipe or loss brings its page. Where to start is said in [which_recipe.md](../which_recipe.md), and how recipes are written in
[recipes.md](../recipes.md).

Gains are on [drawn faces](../lab_book/drawn_faces.md#every-method-on-drawn-faces), in points over the student alone, mean (standard
deviation) of three seeds; one standard error is 0.8 points. "Inferred" is marked where a page names a detail that is our reading or our
choice. Every loss is compared with an independent version of its equation in NumPy; no table of a paper was reproduced. What stands under
needs is that of `cakd recipes list`.
"""
DRAWN = "drawn_faces.md#every-method"


def method_pages() -> dict[str, str]:
    """Return the page of each method and their index, by path."""
    methods: dict[str, dict[str, Recipe]] = {}
    for path in shipped_recipes():
        name, recipe = recipe_name(path), load_recipe(str(path))
        if "/" not in name:
            methods.setdefault(source(recipe)[0], {})[name] = recipe
    found = gains()
    pages = {f"docs/methods/{_file(method)}": _page(method, recipes, found) for method, recipes in methods.items()}
    return {"docs/methods/README.md": _index(methods, found), **pages}


def _file(method: str) -> str:
    return re.sub(r"\W+", "_", method.lower()).strip("_") + ".md"


def _index(methods: dict[str, dict[str, Recipe]], found: list[Gain]) -> str:
    rows = []
    for method, recipes in sorted(methods.items(), key=lambda item: item[0].lower()):
        named = dict.fromkeys(need for recipe in recipes.values() for need in needs(recipe))
        gained = [f"`{one.recipe}` {one.points}" for one in found if one.recipe in recipes and DRAWN in one.link]
        link = f"[{method}]({_file(method)})"
        rows.append(
            (
                link,
                ", ".join(f"`{name}`" for name in recipes),
                " ".join(named),
                ", ".join(gained),
                "yes" if _sure(recipes) else "",
            )
        )
    return f"{INDEX}\n{table(('method', 'recipes', 'needs', 'gain on drawn faces', 'inferred'), rows)}\n"


def _page(method: str, recipes: dict[str, Recipe], found: list[Gain]) -> str:
    blocks = [
        f"# {method}",
        _about(recipes),
        "## What it computes",
        *_parts_in_words(recipes),
        "## When to use it",
        advice(recipes),
    ]
    blocks += ["## What it needs and costs", _costs(recipes), "## What it gained", _gained(recipes, found)]
    return "\n\n".join(blocks) + "\n"


def _about(recipes: dict[str, Recipe]) -> str:
    papers = list(dict.fromkeys(chain.from_iterable(_papers(recipe) for recipe in recipes.values())))
    lines = [f"* `{name}`: {recipe.about}." for name, recipe in recipes.items()]
    more = [f"[{title}](../{page})" for title, page in _further(recipes, " ".join(papers))]
    read = f"\n\nMore about it: {', '.join(more)}." if more else ""
    return "\n".join(lines) + f"\n\nSource: {'; '.join(map(_linked, papers))}.{_sure(recipes)}{read}"


def _papers(recipe: Recipe) -> list[str]:
    head = [recipe.head.paper] if recipe.head is not None else []
    return [recipe.paper] if recipe.paper else head + [term.facts.paper for term in recipe.losses]


def _linked(paper: str) -> str:
    return re.sub(r"\b(\d{4}\.\d{4,5})\b", r"[\1](https://arxiv.org/abs/\1)", paper)


def _further(recipes: dict[str, Recipe], papers: str) -> Iterator[tuple[str, str]]:
    """Yield the pages of the navigation's systems, and of teachers, that are about these recipes."""
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    systems = next(part["Systems"] for part in navigation if "Systems" in part)
    named = {title: page for entry in systems for title, page in entry.items()} | {"Teachers": "docs/teachers.md"}
    names = re.compile(rf"(?:--distill |cakd compare [\w ]*|recipes? )`?\b(?:{'|'.join(recipes)})\b")
    ids = re.findall(r"\d{4}\.\d{4,5}", papers)
    for title, page in named.items():
        text = (ROOT / page).read_text("utf-8")
        of_paper = any(number in "".join(text.splitlines(True)[:8]) for number in ids)
        if of_paper or (names.search(text) and "cosine" not in recipes):
            yield title, page.removeprefix("docs/")


def _parts_in_words(recipes: dict[str, Recipe]) -> Iterator[str]:
    for title, kind in parts_of(recipes).items():
        first, _, rest = body(kind).partition("\n")
        text = f"\n\n```text\n{rest.strip()}\n```" if rest.strip() else ""
        said = {name: section(kind, name) for name in ("Units", "Source")}
        lines = [f"* {name if name != 'Units' else 'Range'}: {_linked(one)}" for name, one in said.items() if one]
        if issubclass(kind, LossFacts):
            lines.append(f"* In Python: `from insightface_cakd.losses import {kind.__name__}`")
        yield f"### {title}\n\n{first}{text}" + ("\n\n" + "\n".join(lines) if lines else "")


def _sure(recipes: dict[str, Recipe]) -> str:
    """Return a sentence if a source names something that is not the paper's."""
    said = [section(kind, "Source") for kind in parts_of(recipes).values()]
    said += [paper for recipe in recipes.values() for paper in (*_papers(recipe), recipe.about)]
    return (
        " Some details are our reading or our choice: see the sources below." if any(map(UNSURE.search, said)) else ""
    )


def _costs(recipes: dict[str, Recipe]) -> str:
    rows: list[tuple[str, ...]] = []
    words: dict[str, str] = {}
    for name, recipe in recipes.items():
        words |= {need: NEEDS[need] for need in needs(recipe)}
        rows.append(
            (
                f"`{name}`",
                " ".join(needs(recipe)),
                " ".join(memory(recipe)),
                cost(recipe),
                f"`{_command(name, recipe)}`",
            )
        )
    legend = "; ".join([f"{need}: {text}" for need, text in words.items()])
    return f"{table(('recipe', 'needs', 'memory', 'cost', 'command'), rows)}\n\n" + "\n".join(
        f"* {line}." for line in ([f"needs, {legend}"] if legend else []) + list(LETTERS)
    )


def _command(name: str, recipe: Recipe) -> str:
    words = ["cakd train CONFIG --distill", name]
    if recipe.teachers:
        words += [f"--recipe-set teachers.{one}.weights=FILE" for one in recipe.teachers]
    elif recipe.teacher.network != NOBODY:
        words.append("--teacher TEACHER")
    named = needs(recipe)
    return " ".join(words + [f"--{need} {need.upper()}" for need in ("centres", "prototypes", "init") if need in named])


def _gained(recipes: dict[str, Recipe], found: list[Gain]) -> str:
    # The same run may stand in two tables.
    once = {(one.recipe, one.accuracy, one.points): one for one in reversed(found) if one.recipe in recipes}
    rows = [
        (f"`{one.recipe}`", f"[{one.said}](../{one.link})", str(one.seeds), one.accuracy, one.points)
        for one in reversed(once.values())
    ]
    if not rows:
        return (
            "Not in the tables on equal terms; what was measured, if anything, is on the pages named above and in [the lab "
            "book](../lab_book/README.md)."
        )
    return table(("recipe", "where", "seeds", "accuracy", "gain"), rows)
