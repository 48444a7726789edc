"""Measures a model by a protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insightface_cakd.api.recogniser import Recogniser, place_of
from insightface_cakd.evaluate.execution import Bar, Execution, no_bar
from insightface_cakd.evaluate.protocol import build_protocol, measured
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import read_entries
from insightface_cakd.report.result import Result
from insightface_cakd.runtime.devices import choose_device, process_group
from insightface_cakd.runtime.run_folder import RunFolder


def evaluate(
    model: str | Path | RunFolder | Recogniser,
    data: str | Path | Sequence[str | Path],
    protocol: str = "bin",
    *,
    network: str | None = None,
    batch_size: int = 64,
    device: str | None = None,
    bar: Bar = no_bar,
    **options: Any,
) -> Result:
    """Measure a model, by default on verification sets; `cakd eval` in Python.

    Under torchrun, each process calls it, and all return the same.

    Args:
        model: a run's folder or what `train` returned, an .onnx, .pt weights with `network`, or what `load` returned.
        data: what the protocol measures on, one or several; for `bin` verification sets, or folders of them.
        protocol: `bin`, `identify`, `landmarks`, `periocular`, or `package.module:Class`.
        network: name of the network of bare weights.
        batch_size: images per forward; the result does not depend on it.
        device: cuda, mps or cpu; when not given that of a loaded model, else the best there is.
        bar: opens a progress bar, such as `insightface_cakd.runtime.progress.progress_bar`.
        options: of the protocol, such as `variant=["masked"]` of `bin`; an unknown one is an error.

    Returns:
        `print` shows its table; `facts()` has all numbers.

    Raises:
        EvaluationError: the model, the data or an option cannot be used.
    """
    chosen = build_protocol(protocol, options)
    if isinstance(model, Recogniser):
        network, device = model.entry.network, device or str(model.device)
    execution = Execution(choose_device(device), batch_size, bar=bar, shared=True)
    (entry,) = read_entries([place_of(model)], network)
    places = [Path(one) for one in ([data] if isinstance(data, str | Path) else data)]
    with process_group():
        return measured(chosen, entry.load(get_model, execution.device, chosen.sides), places, execution)
