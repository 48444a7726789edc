"""Looks at installation, host, config, data and teacher in turn, and goes on after a problem."""

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from types import ModuleType

import torch
from easydict import EasyDict

from insightface_cakd.doctor import checkout_job, embedded_job
from insightface_cakd.doctor.checkout import examine_checkout, examine_fixes, import_problem
from insightface_cakd.doctor.findings import Finding, note, ok, problem
from insightface_cakd.doctor.installation import examine_installation
from insightface_cakd.doctor.teaching import examine_teaching
from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.hosts import upstream
from insightface_cakd.hosts.checkout import Checkout, find_checkout
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.hosts.failures import describe
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.tasks.job import Job, configured


@dataclass(frozen=True)
class Host:
    """What a job is asked of.

    Args:
        train_v2: the host's training script.
        get_config: returns a job's config by name or path.
        device: returns where a run with this config would train; None: without a config.
        examine_job: looks at a config.
        examine_faces: looks at training images.
    """

    train_v2: ModuleType
    get_config: Callable[[str], EasyDict]
    device: Callable[[EasyDict | None], torch.device]
    examine_job: Callable[[EasyDict], Iterator[Finding]]
    examine_faces: Callable[[str], Iterator[Finding]]


def examine(case: Job) -> Iterator[Finding]:
    """Look at everything that the case names; each finding is given once.

    Args:
        case: what is looked at.
    """
    told: set[str] = set()
    for finding in _all(case):
        if finding.text not in told:
            told.add(finding.text)
            yield finding


def _all(case: Job) -> Iterator[Finding]:
    yield from examine_installation()
    yield from map(problem, case.problems())
    if case.host is not None:
        yield from _on_checkout(case)
        return
    yield from _on_host(case, _embedded())


def _embedded() -> Host:
    def device(cfg: EasyDict | None) -> torch.device:
        return choose_device(cfg.get("device") if cfg is not None else None)

    return Host(train_v2, get_config, device, embedded_job.examine_job, embedded_job.examine_faces)


def _on_checkout(case: Job) -> Iterator[Finding]:
    try:
        checkout = find_checkout(case.host)
    except CAKDError as error:
        yield problem(str(error))
        yield from _unopened(case)
        return
    found = list(examine_checkout(checkout))
    yield from found
    yield from examine_fixes(case.fixes, case.no_fixes)
    if any(finding.kind == "problem" for finding in found):
        yield from _unopened(case)
    else:
        yield from _opened(case, checkout)


def _opened(case: Job, checkout: Checkout) -> Iterator[Finding]:
    found: list[Finding] = []
    try:
        # What a fix and the checkout print on the way is told by a finding, or is the checkout's own.
        with redirect_stdout(io.StringIO()), upstream.opened(checkout, case.fixes, case.no_fixes) as host:
            job = checkout_job
            found += _on_host(
                case, Host(host.train_v2, host.get_config, lambda _: host.device, job.examine_job, job.examine_faces)
            )
    except RunError as error:
        yield import_problem(error, checkout, case.no_fixes)
        yield from _unopened(case)
    yield from found


def _unopened(case: Job) -> Iterator[Finding]:
    """Look at what needs no host code."""
    left = [f"--{name}" for name in ("config", "distill") if getattr(case, name) is not None]
    if left:
        yield note(f"{', '.join(left)}: not looked at, since there is no checkout that can be imported.")
    if case.data is not None:
        yield from checkout_job.examine_faces(str(case.data))


def _on_host(case: Job, host: Host) -> Iterator[Finding]:
    cfg, buildable = None, False
    if case.config is not None:
        try:
            cfg = configured(case, host.get_config)
        except CAKDError as error:
            yield problem(str(error))
    if cfg is not None:
        facts = ("network", "num_classes", "batch_size", "lr", "num_epoch", "output")
        yield ok(f"config {case.config}: {', '.join(f'{key} {_shown(cfg.get(key))}' for key in facts)}")
        network = list(_network(host, cfg))
        buildable = not network
        yield from network
        yield from host.examine_job(cfg)
    elif case.data is not None:
        yield from host.examine_faces(str(case.data))
    if case.distill is not None:
        yield from _teaching(case, host, cfg if buildable else None)


def _shown(value: object) -> object:
    return "open" if value is None else value


def _network(host: Host, cfg: EasyDict) -> Iterator[Finding]:
    """Build the network without its weights."""
    options = {"dropout": 0.0, "fp16": cfg.get("fp16"), "num_features": cfg.get("embedding_size")}
    try:
        with torch.device("meta"):
            host.train_v2.get_model(cfg.get("network"), **options)
    except CAKDError as error:
        yield problem(str(error))
    except RuntimeError:
        # arcface_torch's Transformers read a number from a tensor, which has none without weights: the name exists.
        return
    # Host code may raise anything; an unknown name is a ValueError without a text.
    except Exception as error:
        yield problem(
            f"config: network is {cfg.get('network')!r}, which the checkout cannot build ({describe(error)}); expected a name that its "
            "backbones/__init__.py knows. Correct it."
        )


def _teaching(case: Job, host: Host, cfg: EasyDict | None) -> Iterator[Finding]:
    try:
        device = host.device(cfg)
    except CAKDError as error:
        yield problem(str(error))
        device = torch.device("cpu")
    yield from examine_teaching(case, host.train_v2, device, cfg)
