"""Every loss on two real ranks: through the gathering of a step, and DDP's average, it is one process on the joined batch."""

import torch
import torch.distributed as dist
from torch import nn

from insightface_cakd.distill.gather import ShardedClasses, gather, gather_constant, gather_for_shards
from insightface_cakd.losses import LOGITS, LOSSES, DistillLoss
from insightface_cakd.losses.classes import WHOLE_ROWS
from insightface_cakd.runtime.ranks import rank, world_size
from tests.losses.cases import build, shaped
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding

IMAGES, PIXELS, WIDTH, STEPS = 8, 6, 5, 2
BOUNDS = {1: (0, 11), 2: (0, 4, 11)}  # the classes of each rank
ROUNDING = 1e-12


class Unlike(DistillLoss):
    """Compares the images of a batch, and does not say that it gathers: what these tests must find."""

    same_shape = False

    def compute(self, student, teacher, labels):
        return (student @ student.T - teacher @ teacher.T).square().mean()


UNLIKE = f"{__name__}:Unlike"


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Networks(nn.Module):
    """A linear student and teacher, and their class centres, of which a rank has some rows."""

    def __init__(self, name):
        super().__init__()
        self.name, self.kind = name, LOSSES[name]
        self.loss = build(name, WIDTH)
        self.student = nn.Parameter(drawn(PIXELS, WIDTH, seed=1))
        self.teacher = nn.Parameter(drawn(PIXELS, WIDTH, seed=2))
        self.first, self.last = BOUNDS[world_size()][rank() :][:2]
        self.centres = nn.Parameter(drawn(BOUNDS[1][1], WIDTH, seed=3)[self.first : self.last])
        self.register_buffer("theirs", drawn(BOUNDS[1][1], WIDTH, seed=4)[self.first : self.last])

    def forward(self, images, labels):
        """Give the loss what a step gives it."""
        ours, theirs = images @ self.student, images @ self.teacher
        everyone = gather_constant(labels)
        if self.kind.reads in LOGITS:
            columns = torch.where((everyone >= self.first) & (everyone < self.last), everyone - self.first, -1)
            columns = columns.view(-1, 1)
            logits = gather_for_shards(ours) @ self.centres.T
            teacher = columns if self.kind.reads == "prompted_logits" else gather_constant(theirs) @ self.theirs.T
            return self.loss(logits, teacher, columns, ShardedClasses() if world_size() > 1 else WHOLE_ROWS)
        ours, theirs = shaped(self.name, ours), shaped(self.name, theirs)
        if self.kind.gathers:
            return self.loss(gather(ours), gather_constant(theirs), everyone)
        return self.loss(ours, theirs, labels)


def average(tensor):
    """Return the mean over ranks, as DDP takes it of gradients."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor / world_size()


def trained(names):
    """Return by loss what a rank has after two steps: the value, the gradients, the centres' gradient, and what the loss remembers."""
    found = {}
    images, labels = drawn(STEPS, IMAGES, PIXELS, seed=5), torch.tensor([0, 0, 1, 2, 3, 1, 0, 2])
    for name in names:
        networks = Networks(name)
        for batch in images:
            networks.zero_grad()
            value = networks(*(part.chunk(world_size())[rank()] for part in (batch, labels)))
            value.backward()
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in networks.parameters()]
        found[name] = {
            "value": average(value.detach()),
            "student's gradient": average(grads[0]),
            "teacher's gradient": average(grads[1]),
            "centres' gradient": grads[2],
            "memory": networks.loss.state_dict(),
        }
    return found


def differs(name, whole, ranks):
    """Return what one process and the ranks do not agree on, an empty string for nothing."""
    try:
        for ours in ranks:
            for what in ("value", "student's gradient", "teacher's gradient"):
                assert_equal_up_to_rounding(ours[what], whole[what], f"{name}: {what}", ROUNDING)
            assert ours["memory"].keys() == whole["memory"].keys(), f"{name}: memory"
            for key, value in whole["memory"].items():
                assert_equal_up_to_rounding(ours["memory"][key].double(), value.double(), f"{name}: {key}", ROUNDING)
        rows = torch.cat([ours["centres' gradient"] for ours in ranks])
        assert_equal_up_to_rounding(rows, whole["centres' gradient"], f"{name}: centres' gradient", ROUNDING)
    except AssertionError as error:
        return " ".join(str(error).split())
    return ""


def test_every_loss_is_the_same_on_two_ranks_as_on_one(request):
    names = [*(request.config.getoption("--loss") or LOSSES), UNLIKE]
    whole, ranks = trained(names), run_ranks(trained, 2, names)
    faults = {name: differs(name, whole[name], [ours[name] for ours in ranks]) for name in names}
    assert faults.pop(UNLIKE).startswith(f"{UNLIKE}: value"), "a loss that gathers without saying so is found"
    assert not any(faults.values()), "\n".join(filter(None, faults.values()))


def test_every_loss_learns_where_ranks_are_compared():
    """A gradient of 0 on both sides would prove nothing."""
    found = trained(LOSSES)
    assert not [
        name for name, one in found.items() if one["value"] <= 0 or one["student's gradient"].abs().max() < 1e-7
    ]
