"""k-means against sklearn, a slow reference and the traps that FAISS sets."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.measure import faiss_backend
from itae.measure.cluster import points
from itae.measure.cluster.kmeans import KMeans, inertia
from itae.measure.cluster.numbered import drawn_seeds

pytest.importorskip("faiss")


def mixture(n=600, width=16, k=5, spread=0.3, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(k, width))
    return (centres[random.integers(k, size=n)] + spread * random.normal(size=(n, width))).astype(np.float32)


def slow_inertia(x, assignments, centroids):
    return sum(float(((x[i].astype(float) - centroids[a].astype(float)) ** 2).sum()) for i, a in enumerate(assignments))


@pytest.fixture
def parameters_seen(monkeypatch):
    """The ClusteringParameters of every FAISS training, in order."""
    faiss, seen = faiss_backend.load_faiss(), []

    class Spy(faiss.Clustering):
        def __init__(self, width, k, parameters):
            seen.append(parameters)
            super().__init__(width, k, parameters)

    monkeypatch.setattr(faiss, "Clustering", Spy)
    return seen


def test_finds_what_sklearn_finds():
    from sklearn.cluster import KMeans as Reference

    x = mixture(spread=1.0)
    reference = Reference(5, n_init=10, random_state=0).fit(x)
    found = KMeans().fit(x, 5, seed=1)
    assert found.objective.value == pytest.approx(reference.inertia_, rel=1e-3)
    assert found.assignments.dtype == np.int64
    assert found.assignments.shape == (600,)
    assert found.centroids.shape == (5, 16)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.booleans(), st.integers(0, 2**31))
def test_result_is_consistent(n, k, spherical, seed):
    k = min(k, n)
    x = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    found = KMeans(restarts=2, spherical=spherical).fit(x, k, seed)
    rows = x / np.linalg.norm(x, axis=1, keepdims=True) if spherical else x
    squares = ((rows[:, None].astype(float) - found.centroids[None]) ** 2).sum(2)
    chosen = squares[np.arange(n), found.assignments]
    np.testing.assert_allclose(chosen, squares.min(1), atol=1e-5)  # the nearest, of the final centroids
    assert found.objective.value == pytest.approx(chosen.sum() * (0.5 if spherical else 1), rel=1e-5, abs=1e-6)
    assert found.clusters == len(set(found.assignments.tolist()))
    assert found.largest_share == np.bincount(found.assignments).max() / n


def test_inertia_goes_over_all_points_in_blocks(monkeypatch):
    x = mixture()
    found = KMeans(restarts=1).fit(x, 5, 0)
    monkeypatch.setattr(points, "BLOCK", 7)
    assert inertia(x, found.assignments, found.centroids) == pytest.approx(
        slow_inertia(x, found.assignments, found.centroids), rel=1e-12
    )


def test_inertia_sums_in_float64():
    """The sum of 1e6 squares of 4.1 in float32 is off by far more than this."""
    x = np.full((200_000, 1), 2.05, np.float32)
    assert inertia(x, np.zeros(len(x), int), np.zeros((1, 1), np.float32)) == pytest.approx(
        len(x) * float(np.float32(2.05)) ** 2, rel=1e-12
    )


def test_all_points_train_and_no_warning_is_printed(parameters_seen, capfd):
    """FAISS alone would take 256 points a centroid, and complain below 39 of them."""
    KMeans(restarts=1).fit(mixture(n=1001), 2, 0)
    KMeans(restarts=1).fit(mixture(n=30), 5, 0)
    assert [(p.max_points_per_centroid, p.min_points_per_centroid) for p in parameters_seen] == [(501, 1), (6, 1)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("spherical", [False, True])
def test_the_restart_of_lowest_inertia_is_kept(spherical):
    """One start from random points, 20 times: their lowest is what 20 restarts give."""
    x = mixture(k=12, spread=0.6)
    one = KMeans(restarts=1, init="random", spherical=spherical)
    many = KMeans(restarts=20, init="random", spherical=spherical).fit(x, 12, 5)
    rows = points.checked(x, spherical, "it")
    singles = []
    for seed in drawn_seeds(5, 20):
        _, assignments, centroids, _ = one._once(faiss_backend.load_faiss(), rows, 12, seed, [None])
        singles.append(inertia(rows, assignments, centroids) * (0.5 if spherical else 1))
    assert max(singles) > min(singles) * 1.01  # the restarts do differ
    assert many.objective.value == pytest.approx(min(singles), rel=1e-6)


def test_a_restart_ends_when_it_gains_less_than_the_tolerance():
    points = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    took = [KMeans(restarts=1, tolerance=share).fit(points, 5, 1, "cpu").info["iterations"] for share in (1e-6, 0.01)]
    assert took[0] > took[1] + 5
    assert KMeans(restarts=1, iterations=3).fit(points, 5, 1, "cpu").info["iterations"] == 3


def test_spherical_is_by_cosine_whatever_the_lengths():
    x = mixture()
    lengths = np.random.default_rng(1).uniform(0.1, 100, size=(len(x), 1)).astype(np.float32)
    plain, scaled = (KMeans(spherical=True).fit(rows, 5, 3) for rows in (x, x * lengths))
    np.testing.assert_array_equal(plain.assignments, scaled.assignments)
    np.testing.assert_allclose(np.linalg.norm(plain.centroids, axis=1), 1, rtol=1e-5)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = unit.astype(float) @ plain.centroids.T.astype(float)
    np.testing.assert_array_equal(plain.assignments, cosines.argmax(1))
    assert plain.objective.value == pytest.approx((1 - cosines.max(1)).sum(), rel=1e-4)


def test_same_seed_same_bits_however_many_cpus(monkeypatch):
    x = mixture(k=12, spread=1.0)
    runs = []
    for cpus in ("1", "2"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", cpus)
        runs.append(KMeans(init="random").fit(x, 12, 4))
    np.testing.assert_array_equal(runs[0].assignments, runs[1].assignments)
    assert runs[0].objective.value == runs[1].objective.value
    assert KMeans(init="random", restarts=1).fit(x, 12, 5).objective.value != runs[0].objective.value


def test_a_read_only_map_is_neither_copied_nor_touched(tmp_path, monkeypatch):
    x = mixture()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    seen = []
    once = KMeans._once
    monkeypatch.setattr(
        KMeans, "_once", lambda self, faiss, rows, *rest: (seen.append(rows), once(self, faiss, rows, *rest))[1]
    )
    found = KMeans(restarts=2).fit(mapped, 5, 0)
    assert all(np.shares_memory(rows, mapped) for rows in seen)
    assert len(seen) == 2
    np.testing.assert_array_equal(found.assignments, KMeans(restarts=2).fit(x, 5, 0).assignments)


def test_equal_points_leave_clusters_empty():
    x = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    found = KMeans(restarts=2).fit(x, 6, 0)
    assert found.clusters == 3, "and three of six are empty"
    assert found.objective.value < 1e-4


def test_as_many_clusters_as_points():
    found = KMeans(restarts=1).fit(mixture(n=7), 7, 0)
    assert sorted(found.assignments.tolist()) == list(range(7))
    assert found.objective.value < 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e19])
def test_what_is_not_finite_is_counted_and_named(bad):
    x = mixture()
    x[[3, 8], [0, 2]] = bad
    with pytest.raises(UserError, match=r"2 of 600 embeddings are NaN, infinite .*rows 3, 8\)"):
        KMeans().fit(x, 5, 0)


def test_a_row_of_zeros_has_no_direction():
    x = mixture()
    x[5] = 0
    KMeans(restarts=1).fit(x, 5, 0)
    with pytest.raises(UserError, match=r"1 of 600 embeddings are of zero length.*rows 5\)"):
        KMeans(spherical=True).fit(x, 5, 0)


def test_seeds():
    assert KMeans(seeds=[5, 3]).seed_list(99) == [5, 3]
    ten = KMeans().seed_list(7)
    assert ten == KMeans().seed_list(7) != KMeans().seed_list(8)
    assert KMeans(seeds=4).seed_list(7) == ten[:4]
    assert len(set(ten)) == 10
    assert all(0 <= seed < 2**31 for seed in ten)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "clusterer.k=0 must be a whole number of at least 1, auto"),
        ({"k": 2.5}, "clusterer.k=2.5"),
        ({"restarts": 0}, "clusterer.restarts=0"),
        ({"restarts": True}, "clusterer.restarts=True"),
        ({"iterations": -1}, "clusterer.iterations=-1"),
        ({"seeds": 0}, "clusterer.seeds=0"),
        ({"seeds": []}, "clusterer.seeds="),
        ({"seeds": [1, 1]}, "each once"),
        ({"seeds": [1, -2]}, "clusterer.seeds=-2"),
        ({"seeds": "ten"}, "clusterer.seeds"),
        ({"init": "kmeans++"}, "Did you mean 'k-means"),
        ({"tolerance": 1}, "clusterer.tolerance=1"),
        ({"tolerance": "small"}, "clusterer.tolerance='small'"),
        ({"spherical": "yes"}, "clusterer.spherical='yes'"),
    ],
)
def test_settings_out_of_range(settings, said):
    with pytest.raises(UserError) as error:
        KMeans(**settings)
    assert said in str(error.value)


def test_k():
    assert KMeans().check(100, 10) == 10
    assert KMeans(k=7).check(100, 10) == KMeans(k=7).check(7, None) == 7
    assert KMeans().check(100, None) is KMeans(k="auto").check(100, 10) is None, "still to be chosen"
    with pytest.raises(UserError, match=r"clusterer.k=8 is more clusters than there are images \(7\)"):
        KMeans(k=8).check(7, None)
    with pytest.raises(UserError, match="number of classes=10 is more"):
        KMeans().check(9, 10)
    with pytest.raises(UserError, match="more clusters"):
        KMeans().fit(mixture(n=4), 5, 0)


def test_devices():
    faiss = faiss_backend.load_faiss()
    assert faiss_backend.pick_gpu(faiss, "cpu") is None
    for device in ("gpu", "cuda:x", "cpu:0", "tpu"):
        with pytest.raises(UserError, match="is not one of auto, cpu, cuda"):
            faiss_backend.pick_gpu(faiss, device)
    if not hasattr(faiss, "StandardGpuResources"):
        for device in ("auto", "cuda", "cuda:1"):
            assert KMeans(restarts=1).fit(mixture(), 5, 0, device).device == "cpu"


def test_gpus_are_counted_and_where_there_is_none_of_that_number_it_is_the_cpu(monkeypatch):
    class TwoGpus:
        StandardGpuResources = object
        get_num_gpus = staticmethod(lambda: 2)

    devices = ("auto", "cuda", "cuda:1", "cpu", "cuda:2")
    assert [faiss_backend.pick_gpu(TwoGpus, device) for device in devices] == [0, 0, 1, None, None]
    monkeypatch.setattr(faiss_backend, "load_faiss", lambda: TwoGpus)
    told = [faiss_backend.why_on_cpu(device) for device in devices]
    assert told == [None] * 4 + [
        "FAISS ran on the CPU, since this faiss sees 2 GPU(s); for runtime.device=cuda:2 install 'itae[gpu]'."
    ]


def test_a_faiss_without_gpus_is_told_where_one_is_asked_for_by_name_alone():
    if hasattr(faiss_backend.load_faiss(), "StandardGpuResources"):
        pytest.skip("this faiss has GPUs")
    assert [faiss_backend.why_on_cpu(device) for device in ("auto", "cpu")] == [None, None]
    assert "has no GPU support or sees no GPU; for runtime.device=cuda install" in faiss_backend.why_on_cpu("cuda")


@pytest.mark.parametrize(
    ("gpu", "cpus", "lower"),
    [
        (None, 8, ", 8 restarts at a time; set OMP_NUM_THREADS=1 for one at a time"),
        (None, 1, "; take fewer images"),  # fewer restarts would take as much
        (0, 8, "; set runtime.device=cpu"),
    ],
)
def test_too_little_memory_is_told_with_what_to_lower(monkeypatch, gpu, cpus, lower):
    full = "Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory: 'err == cudaSuccess' failed: "
    error = (
        MemoryError("std::bad_alloc") if gpu is None else RuntimeError(f"{full}(cudaMalloc error out of memory [2])")
    )

    def fails(*_):
        raise error

    monkeypatch.setattr("itae.measure.cluster.kmeans.pick_gpus", lambda *_: [gpu])
    monkeypatch.setattr("itae.measure.cluster.kmeans.omp_threads", lambda: cpus)
    monkeypatch.setattr(KMeans, "_once", fails)
    machine = "This machine" if gpu is None else "The GPU"
    with pytest.raises(UserError, match=rf"^{machine} has too little memory for k-means of \d+ vectors{lower}"):
        KMeans().fit(mixture(), 5, 0)


@pytest.mark.gpu
def test_gpu_agrees_with_cpu():
    faiss = faiss_backend.load_faiss()
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        pytest.skip("this faiss has no GPU")
    x = mixture()
    on_gpu = KMeans().fit(x, 5, 1, "cuda")
    assert on_gpu.device == "cuda:0"
    assert on_gpu.objective.value == pytest.approx(KMeans().fit(x, 5, 1, "cpu").objective.value, rel=1e-3)


def test_an_older_faiss_starts_at_random_or_says_so(monkeypatch):
    class Old:
        __version__ = "1.12.0"

        class ClusteringParameters:
            pass

    parameters = KMeans(init="random")._parameters(Old, 100, 3, 1)
    assert parameters.max_points_per_centroid == 34
    assert not hasattr(parameters, "early_stop_threshold")
    with pytest.raises(UserError, match=r"init=k-means\+\+ needs faiss .* this is 1.12.0"):
        KMeans()._parameters(Old, 100, 3, 1)


@pytest.fixture
def fresh_faiss():
    faiss_backend.load_faiss.cache_clear()
    yield
    faiss_backend.load_faiss.cache_clear()


@pytest.mark.usefixtures("fresh_faiss")
def test_no_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"pip install 'itae\[cpu\]', or pip install 'itae\[gpu\]'"):
        KMeans().fit(mixture(), 5, 0)


def test_no_faiss_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(faiss_backend, "load_faiss", lambda: (_ for _ in ()).throw(UserError("Clustering needs faiss")))
    with pytest.raises(UserError, match="Clustering needs faiss"):
        KMeans().check(10, 2)


@pytest.mark.usefixtures("fresh_faiss")
def test_two_faisses(monkeypatch):
    monkeypatch.setattr(faiss_backend, "_installed", lambda names: ["faiss-cpu", "faiss-gpu"])
    with pytest.raises(UserError, match="faiss-cpu and faiss-gpu are both installed"):
        KMeans().fit(mixture(), 5, 0)
    with pytest.raises(UserError, match="faiss-cpu and faiss-gpu are both installed"):
        KMeans().check(10, 2)


def test_a_map_of_memory_is_clustered_as_an_array_is_and_never_copied_whole(monkeypatch, tmp_path):
    x = mixture(n=3000, width=32)
    path = tmp_path / "vectors.npy"
    np.save(path, x)
    mapped = np.load(path, mmap_mode="r")
    monkeypatch.setattr(points, "BLOCK", 100)
    monkeypatch.setattr(points, "IN_MEMORY", x.nbytes // 2)
    unit = points.checked(np.ascontiguousarray(mapped), True, "it")
    assert isinstance(unit, np.memmap)
    assert [one.name for one in tmp_path.iterdir()] == ["vectors.npy"]  # the file has no name
    np.testing.assert_array_equal(unit, points.checked(x, True, "it"))
    for spherical in (False, True):
        ours, theirs = (KMeans(restarts=2, spherical=spherical).fit(some, 5, 1) for some in (mapped, x))
        np.testing.assert_array_equal(ours.assignments, theirs.assignments)
        assert ours.objective == theirs.objective
    monkeypatch.setattr(points.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 9}))
    with pytest.raises(UserError, match=r"too little room for 0.0 GB .*, which it needs.*set TMPDIR"):
        points.checked(mapped, True, "it")


def test_unit_rows_of_a_map_in_a_folder_that_is_read_only_go_among_temporary_files(monkeypatch, tmp_path):
    x = mixture(n=300)
    np.save(tmp_path / "vectors.npy", x)
    asked = []
    monkeypatch.setattr(points, "IN_MEMORY", 0)
    monkeypatch.setattr(points.os, "access", lambda path, how: asked.append(str(path)))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    np.testing.assert_array_equal(points.checked(mapped, True, "it"), points.checked(x, True, "it"))
    assert asked == [str(tmp_path)]


def test_several_gpus_are_those_from_the_devices_own_on():
    class FourGpus:
        StandardGpuResources = object
        get_num_gpus = staticmethod(lambda: 4)

    def picked(device, count):
        return faiss_backend.pick_gpus(FourGpus, device, count)

    assert [picked("cuda", count) for count in (1, 2, "all", 9)] == [[0], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert picked("cuda:2", "all") == [2, 3]
    assert picked("cuda:4", 2) == picked("cpu", 2) == [None]
    for gpus in (0, "many", True):
        with pytest.raises(UserError, match=r"clusterer.gpus=.* must be a whole number of at least 1, or all"):
            KMeans(gpus=gpus)


def test_replicas_of_an_index_find_what_one_finds(monkeypatch):
    """Of two on the CPU, which stand in for those on GPUs."""
    x = mixture()
    alone = KMeans(restarts=2).fit(x, 5, 1)
    made = []

    def flat_index(*given, flat=faiss_backend.flat_index):
        made.append(given[2])
        return flat(*given)

    monkeypatch.setattr("itae.measure.cluster.kmeans.pick_gpus", lambda *_: [None, None])
    monkeypatch.setattr(faiss_backend, "flat_index", flat_index)
    both = KMeans(restarts=2).fit(x, 5, 1)
    assert made == [None] * 4  # two a restart
    np.testing.assert_array_equal(both.assignments, alone.assignments)
    np.testing.assert_array_equal(both.centroids, alone.centroids)
