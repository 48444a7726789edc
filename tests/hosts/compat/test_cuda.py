"""CUDA calls on a machine without CUDA; nothing applies where there is one."""

import sys
import threading
from types import ModuleType

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from insightface_cakd.hosts.compat import applied, cuda
from insightface_cakd.hosts.compat.training import FREE_PORT

ALL = [cuda.GLOO, cuda.CPU_TENSORS, cuda.CPU_STREAMS, cuda.DDP_DEVICES, cuda.SEED_DEVICE, cuda.CPU_FILES]

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is available: these fixes do not apply")


def test_none_applies_where_cuda_is_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with applied(ALL) as chosen:
        assert chosen == []


def test_tensors_and_modules_stay():
    tensor, module = torch.ones(2), nn.Linear(2, 2)
    with applied([cuda.CPU_TENSORS]):
        assert tensor.cuda() is tensor
        assert tensor.cuda(0, non_blocking=True) is tensor
        assert module.train().cuda() is module
        torch.cuda.set_device(3)
        torch.cuda.synchronize()
    with pytest.raises((RuntimeError, AssertionError)):
        tensor.cuda()


def test_one_process_opens_a_group_by_nccls_name_and_a_fixed_port(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    arguments = {"backend": "nccl", "init_method": "tcp://127.0.0.1:12584", "rank": 0, "world_size": 1}
    with applied([cuda.GLOO, FREE_PORT]):
        dist.init_process_group(**arguments)
        try:
            assert dist.get_backend() == "gloo"
            total = torch.ones(1)
            dist.all_reduce(total)
            assert (total.item(), dist.get_world_size()) == (1, 1)
        finally:
            dist.destroy_process_group()


def test_ddp_takes_a_device_number_for_a_module_on_the_cpu(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with applied([*ALL, FREE_PORT]):
        dist.init_process_group("nccl", init_method="tcp://127.0.0.1:12584", rank=0, world_size=1)
        try:
            wrapped = DistributedDataParallel(
                module=nn.Linear(2, 2), broadcast_buffers=False, device_ids=[0], bucket_cap_mb=16
            )
            wrapped(torch.ones(1, 2)).sum().backward()
            assert wrapped.module.weight.grad is not None
        finally:
            dist.destroy_process_group()


def loader_module():
    """Return a module with a loader that uses streams and device numbers the way arcface_torch's does."""

    class DataLoaderX(DataLoader):
        def __init__(self, local_rank, **kwargs):
            super().__init__(**kwargs)
            self.device, self.stream = local_rank, torch.cuda.Stream(local_rank)

        def __iter__(self):
            torch.cuda.current_stream().wait_stream(self.stream)
            with torch.cuda.stream(self.stream):
                for batch in super().__iter__():
                    yield [part.to(device=self.device, non_blocking=True) for part in batch]

    module = ModuleType("dataset")
    module.DataLoaderX = DataLoaderX
    return module


def test_a_loader_with_streams_and_device_numbers_reads_to_the_cpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "dataset", module := loader_module())
    with applied([cuda.CPU_STREAMS, cuda.CPU_TENSORS]):
        data = TensorDataset(torch.arange(4))
        loader = module.DataLoaderX(local_rank=1, dataset=data, batch_size=2, pin_memory=True)
        assert not loader.pin_memory
        assert [batch[0].tolist() for batch in loader] == [[0, 1], [2, 3]]


def test_another_module_of_the_same_name_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "dataset", module := ModuleType("dataset"))
    before = set(vars(module))
    with applied(ALL):
        assert set(vars(module)) == before


def test_the_ranks_share_their_seed_in_a_cpu_tensor(monkeypatch):
    module = ModuleType("utils.utils_distributed_sampler")
    module.sync_random_seed = lambda seed=None, device="cuda": (seed, device)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with applied([cuda.SEED_DEVICE]):
        assert module.sync_random_seed(7) == (7, "cpu")


def cuda_file(path):
    """Write a file that says its tensor is on a GPU."""
    torch.save({"weight": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"X\x03\x00\x00\x00cpu") == 1
    path.write_bytes(data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    return path


def test_a_file_saved_on_a_gpu_is_read(tmp_path):
    path = cuda_file(tmp_path / "gpu.pt")
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(path)
    with applied([cuda.CPU_FILES]):
        assert torch.load(path)["weight"].tolist() == [0, 1, 2]
        assert torch.load(path, map_location="meta")["weight"].device.type == "meta"


def test_threads_see_them_too():
    """The host moves batches in a thread of its own."""
    seen = []
    with applied([cuda.CPU_TENSORS]):
        thread = threading.Thread(target=lambda: seen.append(torch.ones(1).cuda().item()))
        thread.start()
        thread.join()
    assert seen == [1]
