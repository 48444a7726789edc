"""The training loop: arcface_torch's `train_v2` on any device and many ranks.

`get_dataloader`, `get_model`, `CombinedMarginLoss`, `PartialFC_V2` and `CallBackVerification` are looked up in this
module when a run begins: distillation and tasks enter by replacing them here. The student may pass anything to the
head, and the target may be anything.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from easydict import EasyDict
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.checkpoint import (
    Start,
    check_output,
    load,
    make_output,
    restore_rng,
    rng_state,
    save,
)
from insightface_cakd.hosts.embedded.dataset import get_dataloader, open_faces
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.lr_scheduler import PolynomialLRWarmup
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.hosts.embedded.parts import Parts, RunResult
from insightface_cakd.hosts.embedded.utils.utils_callbacks import CallBackLogging, CallBackVerification, mean_buffers
from insightface_cakd.hosts.embedded.utils.utils_distributed_sampler import setup_seed
from insightface_cakd.hosts.embedded.utils.utils_logging import LOGGER, AverageMeter, init_logging
from insightface_cakd.hosts.generations import settle
from insightface_cakd.hosts.job_spec import BF16, EmbeddedJobSpec, check_job
from insightface_cakd.hosts.precision import examine_precision
from insightface_cakd.hosts.schedule import examine_amount
from insightface_cakd.runtime.atomic import write_json
from insightface_cakd.runtime.devices import choose_device, process_group
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.runtime.run_folder import BEST, MODEL, RESULT, RunFolder
from insightface_cakd.runtime.stopping import STOPPED, StopRequest, stop_requests
from insightface_cakd.runtime.tensor_file import save_atomically
from insightface_cakd.runtime.workers import worker_failures

# A student that asks for the landmarks of each image gets them.
GIVES_LANDMARKS = True
# Its log lines contain what a head's `terms()` says.
LOGS_TERMS = True
_MAX_NORM = 5.0
_SCALE = 64


def main(cfg: EasyDict, resume: bool = False) -> RunResult:
    """Train as the config says; `result.json` gets what is returned.

    The last good checkpoint stays when the run cannot start or continue.
    """
    device = choose_device(cfg.get("device"))
    with process_group(device):
        # Errors in config and data are found before the output folder is created.
        parts, verification, start = prepare(cfg, device, resume or cfg.resume)
        make_output(Path(cfg.output))
        settle(Path(cfg.output), start.generation)
        if start.generation is not None and not parts.done:
            # What a kill may have left unwritten.
            _publish(parts, parts.backbone.state_dict(), start.improved)
        init_logging(rank(), cfg.output)
        writer = SummaryWriter(str(Path(cfg.output) / "tensorboard")) if rank() == 0 else None
        verification.summary_writer = writer
        try:
            return run(parts, verification, writer)
        finally:
            if writer is not None:
                writer.close()


def prepare(cfg: EasyDict, device: torch.device, resume: bool) -> tuple[Parts, CallBackVerification, Start]:
    """Check a config and build all parts of a run; write nothing.

    A missing number of classes is filled in.
    """
    if cfg.get("num_classes") is None and cfg.get("rec") is not None:
        cfg.num_classes = int(open_faces(str(cfg.rec)).num_classes)
    check_job(cfg, EmbeddedJobSpec)
    generation = check_output(Path(cfg.output), resume)
    parts = _build(cfg, device)
    verification = CallBackVerification(cfg.val_targets, str(cfg.rec))
    start = Start() if generation is None else load(parts, generation)
    verification.best = dict(start.best)
    return parts, verification, start


def _build(cfg: EasyDict, device: torch.device) -> Parts:
    setup_seed(cfg.seed)
    loader = get_dataloader(
        str(cfg.rec), rank(), cfg.batch_size, cfg.dali, cfg.dali_aug, cfg.seed, cfg.num_workers, device, cfg.num_classes
    )
    backbone = get_model(cfg.network, dropout=0.0, fp16=cfg.fp16, num_features=cfg.embedding_size).to(device)
    if getattr(backbone, "reads_landmarks", False):
        loader.with_landmarks(Path(str(cfg.rec)))
    m1, m2, m3 = cfg.margin_list
    margin = CombinedMarginLoss(_SCALE, m1, m2, m3, cfg.interclass_filtering_threshold)
    head = PartialFC_V2(margin, cfg.embedding_size, cfg.num_classes, cfg.sample_rate, False).train().to(device)
    backbone.train()
    # The head's group comes last; optimiser state is stored by position.
    groups = [{"params": list(backbone.parameters())}, {"params": list(head.parameters())}]
    optimizer = _make_optimizer(cfg, groups)
    per_epoch = -(-len(loader) // cfg.gradient_acc)
    scheduler = PolynomialLRWarmup(
        optimizer,
        int(per_epoch * cfg.warmup_epoch),
        per_epoch * cfg.num_epoch,
        power=2.0 if cfg.optimizer == "sgd" else 1.0,
    )
    scaler = torch.amp.GradScaler(device.type, enabled=bool(cfg.fp16) and device.type == "cuda", growth_interval=100)
    return Parts(cfg, device, loader, backbone, _distribute(backbone, device), head, optimizer, scheduler, scaler)


def _make_optimizer(cfg: EasyDict, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return SGD or AdamW; the last of the groups is the head's."""
    if cfg.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=cfg.lr, weight_decay=cfg.weight_decay)
    return torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)


def _distribute(backbone: nn.Module, device: torch.device) -> nn.Module:
    """Wrap the student for several ranks as arcface_torch does."""
    if world_size() == 1:
        return backbone
    device_ids = [device.index] if device.type == "cuda" else None
    wrapped = DistributedDataParallel(
        backbone, broadcast_buffers=False, device_ids=device_ids, bucket_cap_mb=16, find_unused_parameters=True
    )
    wrapped._set_static_graph()
    return wrapped


def run(parts: Parts, verification: CallBackVerification, writer: SummaryWriter | None) -> RunResult:
    """Run the remaining epochs; verify and save after each."""
    cfg = parts.cfg
    total = parts.scheduler.total_iters
    facts = (cfg.network, cfg.num_classes, cfg.batch_size, world_size(), total, parts.device)
    LOGGER.info("%s, %d classes, batch %d x %d, %d steps on %s", *facts)
    for finding in (*examine_amount(total), *examine_precision(cfg.get("precision"), parts.device)):
        LOGGER.info("%s", finding)
    if parts.epoch >= cfg.num_epoch:
        return _measure_again(parts, verification)
    log = CallBackLogging(cfg.frequent, total, cfg.batch_size * cfg.gradient_acc, parts.step, writer, world_size())
    result = RunResult()
    started, first = time.monotonic(), parts.step
    try:
        with stop_requests() as request, worker_failures():
            for epoch in range(parts.epoch, cfg.num_epoch):
                if not train_epoch(parts, epoch, log, verification, request):
                    _stop(parts, verification, request)
                parts.epoch, parts.done = epoch + 1, 0
                verify_and_save(parts, verification, result)
    finally:
        log.close()
    result.best = dict(verification.best)
    result.steps = parts.step
    result.seconds = time.monotonic() - started
    images = (parts.step - first) * cfg.batch_size * cfg.gradient_acc * world_size()
    result.images_per_second = images / max(result.seconds, 1e-9)
    _write_result(parts, result)
    return result


def _measure_again(parts: Parts, verification: CallBackVerification) -> RunResult:
    """Verify a run that was resumed after its last epoch; what it took stays."""
    LOGGER.info("all %d epochs are done: measured again, nothing is trained", parts.cfg.num_epoch)
    took = RunFolder(parts.output).result
    result = RunResult(seconds=took.seconds or 0.0, images_per_second=took.images_per_second or 0.0)
    verification.record(verification(parts.step, parts.backbone), result)
    result.best, result.steps = dict(verification.best), parts.step
    _write_result(parts, result)
    return result


def _write_result(parts: Parts, result: RunResult) -> None:
    if rank() == 0:
        # Identification measures nothing further, so its result file omits the key.
        write_json(parts.output / RESULT, {key: x for key, x in asdict(result).items() if key != "measured" or x})


def train_epoch(
    parts: Parts, epoch: int, log: CallBackLogging, verification: CallBackVerification, request: StopRequest
) -> bool:
    """Train on every batch of an epoch once.

    Returns False if it was asked to stop before the last; `parts.done` then says after how many batches.
    """
    cfg, losses = parts.cfg, AverageMeter()
    parts.loader.set_epoch(epoch, parts.done)
    batches = len(parts.loader)
    for index, (images, labels, *landmarks) in enumerate(parts.loader, start=parts.done):
        first = index - index % cfg.gradient_acc
        micro_steps = min(cfg.gradient_acc, batches - first)
        loss = backward(parts, (images, *landmarks), labels, micro_steps)
        losses.update(loss)
        if index < first + micro_steps - 1:
            continue
        update(parts)
        if parts.device.type == "cpu" or parts.step % cfg.frequent == 0:
            _require_finite(loss, parts.step)
        rate = float(parts.scheduler.get_last_lr()[0])
        log(parts.step, losses, epoch, bool(cfg.fp16), rate, parts.scaler, getattr(parts.head, "terms", None))
        if cfg.verbose and parts.step % cfg.verbose == 0:
            mean_buffers(parts.backbone, world_size())
            verification(parts.step, parts.backbone)
        if (index + 1) % parts.batches_together == 0 and request.agreed() and index + 1 < batches:
            parts.done = index + 1
            return False
    return True


def _stop(parts: Parts, verification: CallBackVerification, request: StopRequest) -> NoReturn:
    """Save what is done of an epoch, and end the process as a signal does."""
    if parts.cfg.save_all_states:
        save(parts, parts.backbone.state_dict(), verification.best, improved=False)
        LOGGER.info("%s: stopped after step %d; a checkpoint is saved, go on with --resume", request.name, parts.step)
    else:
        LOGGER.info(
            "%s: stopped after step %d; nothing is saved, as save_all_states is False", request.name, parts.step
        )
    raise SystemExit(STOPPED)


def backward(parts: Parts, inputs: tuple[Tensor, ...], labels: Tensor, micro_steps: int) -> Tensor:
    """Return a micro-batch's loss and add its share of the gradient.

    The inputs are images, and landmarks if the student reads them. Ranks exchange gradients with every micro-batch, as in
    arcface_torch: a static graph of torch 2.15 fails inside `no_sync` (pytorch issue 143580).
    """
    with torch.autocast(parts.device.type, torch.bfloat16, enabled=parts.cfg.precision == BF16):
        outputs = parts.student(*inputs)
    loss = parts.head(outputs, labels)
    parts.scaler.scale(loss / micro_steps).backward()
    return loss


def update(parts: Parts) -> None:
    """Clip the student's gradient, step, and advance the schedule."""
    parts.scaler.unscale_(parts.optimizer)
    nn.utils.clip_grad_norm_(parts.backbone.parameters(), _MAX_NORM)
    parts.scaler.step(parts.optimizer)
    parts.scaler.update()
    parts.optimizer.zero_grad()
    parts.scheduler.step()
    parts.step += 1


def _require_finite(loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise RunError(
            f"step {step}: the loss is {float(loss.detach())} (rank {rank()}); expected a number. Nothing was saved over the last good "
            "checkpoint. Lower lr, or look at the images of that step."
        )


def verify_and_save(parts: Parts, verification: CallBackVerification, result: RunResult) -> None:
    """End an epoch: average batch-norm statistics, verify and save.

    Saves the student, the student with the best verification, and the checkpoint.
    """
    mean_buffers(parts.backbone, world_size())
    _require_finite_weights(parts)
    improved = False
    # A verification must leave no trace in the random numbers of the epochs that follow.
    state = rng_state()
    if parts.epoch % parts.cfg.verify_epochs == 0 or parts.epoch == parts.cfg.num_epoch:
        results = verification(parts.step, parts.backbone)
        improved = verification.improved
        verification.record(results, result)
    restore_rng(state)
    student = parts.backbone.state_dict()
    # The checkpoint first: what is written from it, a resumed run can write again.
    if parts.cfg.save_all_states:
        save(parts, student, verification.best, improved)
    _publish(parts, student, improved)


def _publish(parts: Parts, student: dict[str, Any], improved: bool) -> None:
    if rank() == 0:
        save_atomically(student, parts.output / MODEL)
        if improved:
            save_atomically(student, parts.output / BEST)


def _require_finite_weights(parts: Parts) -> None:
    """Stop before a checkpoint of NaN weights is written."""
    weights = [*parts.backbone.parameters(), *parts.head.parameters()]
    if not torch.stack([torch.isfinite(weight).all() for weight in weights]).all():
        raise RunError(
            f"step {parts.step}: a weight is not finite (rank {rank()}). The last good checkpoint stays. Lower lr."
        )
