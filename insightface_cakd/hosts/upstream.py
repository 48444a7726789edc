"""Runs a checkout's own `train_v2.main`; the loop is entirely the checkout's."""

import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from easydict import EasyDict
from torch import nn

from insightface_cakd.errors import CAKDError, RunError, did_you_mean, in_one_line
from insightface_cakd.hosts.checkout import Checkout, where_raised
from insightface_cakd.hosts.compat import FIXES, Fix, applied
from insightface_cakd.hosts.compat.fix import replace
from insightface_cakd.hosts.failures import describe
from insightface_cakd.runtime.foreign import TRACEBACK, print_traceback
from insightface_cakd.runtime.ranks import world_size
from insightface_cakd.runtime.workers import worker_failures


@dataclass(frozen=True)
class Host:
    """A checkout whose `train_v2` is imported, with fixes and process group."""

    checkout: Checkout
    train_v2: ModuleType
    fixes: tuple[Fix, ...]

    @property
    def device(self) -> torch.device:
        """The device on which the checkout trains in this process."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    @property
    def facts(self) -> dict[str, Any]:
        """What a run's provenance records about its host."""
        return {**self.checkout.facts, "fixes": [fix.name for fix in self.fixes]}

    def get_config(self, name: str) -> EasyDict:
        """Return a job's config as the checkout's own `get_config` merges it."""
        path = find_config(name, self.checkout)
        module = f"configs.{path.stem}"
        try:
            if path.parent != self.checkout.folder / "configs":
                _import_file(module, path)
            return self.train_v2.get_config(f"configs/{path.stem}.py")
        except CAKDError:
            raise
        except (Exception, SystemExit) as error:
            raise RunError(
                f"config {where_raised(error, path.parent)}: {type(error).__name__}: {in_one_line(error)}; "
                "expected a file that sets `config`, as those in the checkout's configs/. Correct it."
            ) from error

    def build(self, cfg: EasyDict) -> tuple[nn.Module, nn.Module]:
        """Return student and head as `main` builds them, with `train_v2`'s present names."""
        names = self.train_v2
        with self._errors_in_one_line():
            student = names.get_model(cfg.network, dropout=0.0, fp16=cfg.fp16, num_features=cfg.embedding_size).to(
                self.device
            )
            margin = names.CombinedMarginLoss(64, *cfg.margin_list, cfg.interclass_filtering_threshold)
            head = names.PartialFC_V2(margin, cfg.embedding_size, cfg.num_classes, cfg.sample_rate, False)
            return student.train(), head.train().to(self.device)

    def train(self, cfg: EasyDict) -> None:
        """Run the checkout's `main` with this config, in the working directory."""
        self.train_v2.get_config = lambda _: cfg  # type: ignore[attr-defined]
        with self._errors_in_one_line(), worker_failures():
            self.train_v2.main(SimpleNamespace(config="configs/given.py"))

    @contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except CAKDError:
            raise
        except Exception as error:
            print_traceback(error)
            raise RunError(
                f"train_v2.py stopped at {where_raised(error, self.checkout.folder)}: {describe(error)}. {TRACEBACK}=1 tells more."
            ) from error


@contextmanager
def opened(checkout: Checkout, wanted: Iterable[str] = (), unwanted: Iterable[str] = ()) -> Iterator[Host]:
    """Import a checkout's `train_v2` in a block, with fixes as in `applied`.

    The process group that it opens is closed afterwards; one that is open already is used, and stays.
    """
    checkout.require_seam()
    with checkout.imported(), applied(FIXES, wanted, unwanted) as fixes, _root_logger_kept(), _one_group():
        yield Host(checkout, checkout.load("train_v2"), tuple(fixes))


@contextmanager
def _one_group() -> Iterator[None]:
    if dist.is_initialized():
        with ExitStack() as stack:
            replace(stack, dist, "init_process_group", lambda *_, **__: None)
            yield
        return
    try:
        yield
    except BaseException:
        # Other ranks may still wait for this one in a collective: closing the group would then hang.
        if world_size() == 1:
            _close_group()
        raise
    _close_group()


def _close_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def find_config(name: str, checkout: Checkout) -> Path:
    """Return a config's file: a path or a job, `.py` being optional."""
    file = name if name.endswith(".py") else f"{name}.py"
    jobs = checkout.folder / "configs"
    for path in (Path(name), Path(file), checkout.folder / file, jobs / file):
        if path.is_file():
            return path.absolute()
    known = sorted(path.stem for path in jobs.glob("*.py") if path.stem not in ("__init__", "base"))
    raise RunError(
        f"config {name}: no such file, and no such job in {jobs}; expected a path, or configs/NAME."
        f"{did_you_mean(Path(file).stem, known)}"
    )


def _import_file(name: str, path: Path) -> None:
    """Run a file as a module, in place of the checkout's own."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RunError(f"config {path}: not a Python file; expected one that sets `config`.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Undo what the checkout's `init_logging` adds to the root logger, and close its log file."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in [handler for handler in root.handlers if handler not in before]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)
