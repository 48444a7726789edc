"""The output folder of a run: its file names and their contents."""

from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.runtime.atomic import write_json
from insightface_cakd.runtime.reading import parse_json, read_text

MODEL, BEST, RUN, RESULT, MAPS = "model.pt", "best.pt", "run.json", "result.json", "maps.pt"
SHOWN = ("network", "embedding_size", "num_classes", "num_epoch", "batch_size", "optimizer", "lr", "seed", "fp16")


class Taught(BaseModel):
    """The teacher of a run; accuracy in [0, 1], before step 1.

    `sets` has that of the best of the teachers on the run's verification sets, on some hundred pairs of each.
    """

    model_config = ConfigDict(strict=True)

    name: str
    sha256: str | None
    accuracy: float | None
    licence: str | None
    sets: dict[str, float] = Field(default_factory=dict)


class Saved(BaseModel):
    """The content of `run.json`; earlier versions wrote less of it.

    `host` is the checkout, None for the embedded host; `recipe` and `teacher` are None for a run without a teacher.
    """

    model_config = ConfigDict(strict=True)

    insightface_cakd: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    ranks: int | None = None
    host: dict[str, Any] | None = None
    recipe_name: str | None = None
    recipe: dict[str, Any] | None = None
    teacher: Taught | None = None


class Measured(BaseModel):
    """The content of `result.json`; accuracy in [0, 1], speed of all ranks."""

    model_config = ConfigDict(strict=True)

    accuracy: dict[str, float] = Field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None
    images_per_second: float | None = None


Content = TypeVar("Content", bound=BaseModel)


class RunFolder:
    """Reads a run's files, each once; a missing one counts as empty."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        measured = ", ".join(f"{name} {100 * value:.2f} %" for name, value in self.result.accuracy.items())
        return f"<RunFolder {self.path}: {self.network or 'no network'}; {measured or 'nothing measured'}>"

    @property
    def model(self) -> Path:
        """Path of the student's weights."""
        return self.path / MODEL

    @property
    def best(self) -> Path:
        """Path of the student's weights of the best measurement."""
        return self.path / BEST

    @property
    def weights(self) -> Path | None:
        """The student's last weights, else the best ones, if any."""
        return next((path for path in (self.model, self.best) if path.is_file()), None)

    @property
    def finished(self) -> bool:
        """Whether the embedded host finished the run."""
        return (self.path / RESULT).is_file()

    @cached_property
    def saved(self) -> Saved:
        """The content of `run.json`: how the network was made."""
        return self._read(RUN, Saved)

    @cached_property
    def result(self) -> Measured:
        """The content of `result.json`: what was measured."""
        return self._read(RESULT, Measured)

    @property
    def config(self) -> dict[str, Any]:
        """The host's config."""
        return self.saved.config

    @property
    def network(self) -> str | None:
        """Name of the student's network."""
        named = self.config.get("network")
        return str(named) if named else None

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The resolved recipe; None for a run without a teacher."""
        return self.saved.recipe

    @property
    def terms(self) -> list[dict[str, Any]]:
        """The loss terms of the recipe."""
        return [] if self.recipe is None else self.recipe.get("losses", [])

    @property
    def teacher(self) -> Taught | None:
        """The teacher; None for a run without one."""
        return self.saved.teacher

    def require(self, *names: str) -> None:
        """Check that files exist in the folder."""
        for name in names:
            if not (self.path / name).is_file():
                raise RunError(
                    f"{self.path}: holds no {name}; expected the output folder of a finished `cakd train`. Train to the end, or name "
                    "another folder."
                )

    def write(self, facts: dict[str, Any]) -> None:
        """Write `run.json`: keys of `Saved`, and others that are never read back."""
        write_json(self.path / RUN, facts)

    def facts(self) -> dict[str, str]:
        """Return config, teacher, terms, result and versions, as texts by name."""
        saved, result = self.saved, self.result
        facts = {key.replace("_", " "): str(self.config[key]) for key in SHOWN if key in self.config}
        if self.teacher is not None:
            facts |= self._taught(self.teacher)
        measured = {"steps": result.steps, "seconds": result.seconds, "images per second": result.images_per_second}
        facts |= {key: f"{value:.0f}" for key, value in measured.items() if value is not None}
        facts |= {f"accuracy, {name}".replace("_", " "): f"{100 * one:.2f} %" for name, one in result.accuracy.items()}
        if saved.insightface_cakd is not None:
            versions = {"insightface_cakd": saved.insightface_cakd, **saved.versions}
            facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
        return facts

    def _taught(self, teacher: Taught) -> dict[str, str]:
        facts = {"teacher": teacher.name, "teacher sha256": teacher.sha256 or "not a file"}
        if teacher.accuracy is not None:
            facts["teacher accuracy before step 1"] = f"{100 * teacher.accuracy:.2f} %"
        facts |= {
            f"teacher accuracy, {name}".replace("_", " "): f"{100 * one:.2f} %" for name, one in teacher.sets.items()
        }
        facts["teacher licence"] = teacher.licence or "not stated"
        facts["terms"] = ", ".join(f"{term['weight']:g} x {term['name']}" for term in self.terms)
        return facts

    def _read(self, name: str, kind: type[Content]) -> Content:
        path = self.path / name
        if not path.is_file():
            return kind()
        try:
            content = parse_json(read_text(path, RunError, "what `cakd train` wrote. Train again."))
        # Numbers of too many digits are no JSONDecodeError.
        except ValueError as error:
            raise RunError(
                f"{path}: not JSON ({in_one_line(error)[:200]}); expected what `cakd train` wrote. Train again."
            ) from error
        if not isinstance(content, dict):
            raise RunError(f"{path}: holds a {type(content).__name__}; expected an object. Train again.")
        try:
            return kind.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place, problem = ".".join(map(str, first["loc"])), first["msg"].lower()
            raise RunError(f"{path}: {place}: {problem}; expected what `cakd train` wrote. Train again.") from error
