"""How many threads there are for what."""

import pytest
import torch

from itae.base.runtime import Runtime
from itae.base.threads import cpu_count, omp_threads

TOLD = ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)


def cgroup(monkeypatch, cpus):
    """Have joblib find a container's quota of so many CPUs on a machine of 64."""
    from joblib.externals.loky.backend import context

    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(context, "_cpu_count_cgroup", lambda _: cpus)


def test_cpus_are_those_of_the_job(monkeypatch):
    cgroup(monkeypatch, 6)
    assert cpu_count() == 6, "a container's quota counts"
    assert omp_threads() == 6
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert cpu_count() == omp_threads() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (cpu_count(), omp_threads()) == (4, 2)
    for name in TOLD[:2]:
        monkeypatch.setenv(name, "99")
    assert cpu_count() == omp_threads() == 6
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert cpu_count() == 1
    for nonsense in ("", "0", "-3", "²", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert omp_threads() == 1


def test_a_gpu_has_as_many_decoders_as_there_are_cpus(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    cgroup(monkeypatch, 6)
    assert (Runtime().decoders(cpu), Runtime().decoders(gpu)) == (1, 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # no word on decoding
    assert Runtime().decoders(gpu) == 6
    cgroup(monkeypatch, 64)
    assert Runtime().decoders(gpu) == 16
    for said in (0, 3, 99):
        assert Runtime(num_workers=said).decoders(cpu) == Runtime(num_workers=said).decoders(gpu) == said
