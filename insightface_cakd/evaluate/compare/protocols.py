"""Several models measured by one protocol, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.protocol import Protocol, build_protocol, measured
from insightface_cakd.networks.entries import Entry
from insightface_cakd.networks.models import GetModel
from insightface_cakd.report.result import Drawing, Gallery, Result
from insightface_cakd.report.tables import Row
from insightface_cakd.runtime.strict_yaml import YAMLError, read_yaml


@dataclass(frozen=True)
class SideBySide(Result):
    """The results of several models."""

    results: Mapping[str, Result]

    @property
    def verdict(self) -> str:
        """That of each model that has one."""
        return " ".join(f"{name}: {result.verdict}" for name, result in self.results.items() if result.verdict)

    def rows(self) -> list[Row]:
        """Return the rows of all models, with a column for the model."""
        return [{"model": name, **row} for name, result in self.results.items() for row in result.rows()]

    def lines(self) -> list[str]:
        """Return sentences shared by all models once, others with the model's name."""
        said = [set(result.lines()) for result in self.results.values()]
        common = set.intersection(*said)
        named = [f"{name}: {line}" for name, one in self.results.items() for line in one.lines() if line not in common]
        return [*named, *(line for line in next(iter(self.results.values())).lines() if line in common)]

    def drawings(self) -> list[Drawing]:
        """Return the plots of all models, with the model's name."""
        return [
            replace(one, title=f"{name}: {one.title}")
            for name, result in self.results.items()
            for one in result.drawings()
        ]

    def galleries(self) -> list[Gallery]:
        """Return the faces of all models, with the model's name."""
        return [
            replace(one, title=f"{name}: {one.title}")
            for name, result in self.results.items()
            for one in result.galleries()
        ]

    def facts(self) -> dict[str, Any]:
        """Return the numbers of each model."""
        return {"models": {name: result.facts() for name, result in self.results.items()}}


def named_protocol(name: str | None, settings: Sequence[str], pairs_only: Mapping[str, object]) -> Protocol | None:
    """Return the protocol of a comparison, None to compare verification pairs.

    Each of its settings is `KEY=VALUE`, in YAML. `pairs_only` are options of the command that apply to pairs only, with
    the values given.
    """
    given = [option for option, value in pairs_only.items() if value]
    if name is None and settings:
        raise EvaluationError(f"--by-set {settings[0]}: there is no --by; expected both. Name the protocol.")
    if name is not None and given:
        raise EvaluationError(
            f"{given[0]} with --by {name}: it is of the comparison of pairs; expected one of both. Leave it out, or give it "
            "by --by-set if the protocol has it."
        )
    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise EvaluationError(f"--by-set {setting}: expected KEY=VALUE, for example seed=1. Correct it.")
        try:
            options[key] = read_yaml(value)
        except YAMLError as error:
            raise EvaluationError(
                f"--by-set {setting[:200]}: the value is not YAML ({error}); expected a value of the option. Put it in quotes."
            ) from error
    return None if name is None else build_protocol(name, options)


def measure_each(
    entries: Sequence[Entry], protocol: Protocol, data: Sequence[Path], get_model: GetModel, execution: Execution
) -> SideBySide:
    """Measure models one after the other with one protocol."""
    return SideBySide(
        {
            entry.name: measured(protocol, entry.load(get_model, execution.device, protocol.sides), data, execution)
            for entry in entries
        }
    )
