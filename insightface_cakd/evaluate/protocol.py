"""Protocols: what they are, how they are found and called.

The command line imports this module for its help, so torch is not imported before something is measured.
"""

import inspect
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from insightface_cakd.errors import EvaluationError, did_you_mean, shown
from insightface_cakd.evaluate import protocols
from insightface_cakd.report.result import Result
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.objects import import_object

if TYPE_CHECKING:
    from torch import nn

    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.networks.models import Embed


class Protocol(ABC):
    """A way to measure one network on some data.

    A subclass is a frozen dataclass whose fields are its options. The first lines of its docstring are the help of
    `cakd eval NAME`, its `Args` section the help of the options.
    """

    metavar: ClassVar[str] = "DATA..."
    takes: ClassVar[str] = "Files or folders to measure on."
    # Sides of the images that an .onnx may take; `input_size` of the network says which.
    sides: ClassVar[tuple[int, ...]] = (112,)

    @abstractmethod
    def measure(self, network: "Embed", data: Sequence[Path], execution: "Execution") -> Result:
        """Measure a network.

        Args:
            network: maps (B, 3, 112, 112) RGB in [-1, 1] on `execution.device` to its output; may be in train mode.
            data: files or folders that the user named.
            execution: how to run; the result must not depend on it.
        """


def protocol_names() -> list[str]:
    """Return the names of the protocols in `evaluate/protocols/`, sorted."""
    return sorted(found.name for found in pkgutil.iter_modules(protocols.__path__))


def find_protocol(name: str) -> type[Protocol]:
    """Return the class of one of `protocol_names`, or of `package.module:Class`."""
    if ":" in name:
        found = import_object(name, "protocol", "protocol", EvaluationError)
        if not (inspect.isclass(found) and issubclass(found, Protocol)):
            raise EvaluationError(
                f"protocol {name}: is no subclass of insightface_cakd.evaluate.protocol.Protocol; expected one. Derive it from that."
            )
        if "__dataclass_params__" not in vars(found):
            raise EvaluationError(
                f"protocol {name}: is no dataclass; expected one, whose fields are its options. Add @dataclass(frozen=True)."
            )
        return found
    if name not in protocol_names():
        raise EvaluationError(
            f"protocol {name}: unknown; expected {', '.join(protocol_names())}, or package.module:Class."
            f"{did_you_mean(name, protocol_names())}"
        )
    module = import_module(f"{protocols.__name__}.{name}")
    (own,) = (
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Protocol) and value.__module__ == module.__name__
    )
    return own


def build_protocol(name: str, options: Mapping[str, Any]) -> Protocol:
    """Return a protocol with its options, converted from text if needed."""
    from pydantic import TypeAdapter, ValidationError

    kind = find_protocol(name)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise EvaluationError(
                f"protocol {name}: {option} is no option of it; known: {', '.join(known) or 'none'}.{did_you_mean(option, known)}"
            )
    with foreign(
        f"protocol {name}", EvaluationError, "it to be made of these options. Correct it, or the options.", of=kind
    ):
        try:
            return TypeAdapter(kind).validate_python(dict(options))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise EvaluationError(
                f"protocol {name}: {where} is {shown(problem['input'])}; {problem['msg']}. Correct it."
            ) from error


def described(kind: type[Protocol]) -> tuple[str, dict[str, str]]:
    """Return a protocol's help and that of each option, from its docstring."""
    text, _, arguments = inspect.cleandoc(kind.__doc__ or "").partition("\nArgs:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", arguments, re.MULTILINE)
    return text.strip(), {name: " ".join(help.split()) for name, help in entries}


@dataclass(frozen=True)
class Measure:
    """A protocol as a training loop calls it."""

    protocol: Protocol
    data: Sequence[Path]
    batch_size: int = 64

    def __call__(self, step: int, network: "nn.Module") -> Result:
        """Measure a network on its device; each of its parts gets its train or eval mode back.

        The package's own protocols do not use the step, but one that logs may.
        """
        from insightface_cakd.evaluate.execution import Execution
        from insightface_cakd.networks.modes import evaluating

        with evaluating(network):
            execution = Execution(next(network.parameters()).device, self.batch_size)
            return measured(self.protocol, network, self.data, execution)


def measured(protocol: Protocol, network: "Embed", data: Sequence[Path], execution: "Execution") -> Result:
    """Return what a protocol measures.

    Raises:
        EvaluationError: a protocol of the user's fails, or gives no result.
    """
    where, expected = (
        f"protocol {type(protocol).__name__}",
        "an insightface_cakd.report.result.Result. Correct `measure`.",
    )
    with foreign(where, EvaluationError, expected, of=protocol):
        found = protocol.measure(network, data, execution)
    if not isinstance(found, Result):
        raise EvaluationError(f"{where}: gives a {type(found).__name__}; expected {expected}")
    return found
