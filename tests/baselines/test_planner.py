"""Plans: steps and bytes are those of the work itself, what is stored is not counted, seconds are nearly right."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import engines
from baselines.costing import SHIPPED, STORED
from baselines.planner import Planner
from baselines.probing import Probe
from baselines.truth import leave_one_out, retraining_truth, single_points, subset_retraining
from samattr_ref import training
from samattr_ref.support.errors import SamattrError
from tests.campaigns.plans import tensor_bytes
from tests.conftest import needs_cpu, small, small_cnn


@pytest.fixture
def counting(monkeypatch):
    """Probes that take no time: every step is said to take one second, on one core, as a device is one."""
    monkeypatch.setattr(Probe, "each", lambda *_: 1.0)
    monkeypatch.setattr(Probe, "time", lambda _, call: (call(), 0.0)[1])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@contextmanager
def steps_taken(monkeypatch):
    """The steps of retrainings, by the number of networks that take each together."""
    taken = []

    def counted(run, engine, step_of=engines.step_of):
        step = step_of(run, engine)
        return lambda batch, state, eta, draw: taken.append(len(state.omega)) or step(batch, state, eta, draw)

    with monkeypatch.context() as patch:
        patch.setattr(engines, "step_of", counted)
        yield taken


def stages(planner, start=""):
    return {stage.work: stage for stage in planner.stages if stage.work.startswith(start)}


@pytest.mark.parametrize(
    ("workload", "fraction", "engine"),
    [
        (small(n_removed=13, steps=20), None, None),
        (small("digits-mlp", momentum=0.5, n_train=40, steps=12), 0.03, "loop"),
        (small_cnn(n_removed=5, steps=10), None, None),
    ],
    ids=["stacked", "subsets", "cnn"],
)
def test_steps_and_bytes_are_those_that_are_taken(workload, fraction, engine, fresh_store, counting, monkeypatch):
    planner = Planner()
    planner.truth(workload, fraction, 6, engine)
    assert not tensor_bytes(fresh_store)  # a plan leaves nothing behind
    trained, retrained = stages(planner, "training"), stages(planner, "retraining")
    assert sum(sum(stage.tasks) for stage in trained.values()) == workload.recipe.steps
    with steps_taken(monkeypatch) as taken:
        run = sr.train(workload)
        truth = leave_one_out(run, engine) if fraction is None else subset_retraining(run, fraction, 6, 0, engine)
    (stage,) = retrained.values()
    assert sum(stage.tasks) == len(taken)
    assert stage.shared and len(taken) < (len(truth.groups) + 1) * run.n_steps  # not all from the start
    baselines.truth.save_values(truth)
    assert planner.estimate().disk_bytes == tensor_bytes(fresh_store)


def test_memory_has_room_for_the_states_of_a_run(fresh_store, counting, monkeypatch):
    monkeypatch.setattr("baselines.planner.memory_bytes", lambda: 1000)
    planner = Planner()
    run = planner.training(small(steps=10))
    kept = sr.train(run.workload)
    assert planner.estimate().memory_bytes == 1000 + 3 * sum(tensor.nbytes for tensor in kept.tensors().values())


def test_what_is_in_the_store_is_not_counted(fresh_store, counting, monkeypatch):
    workload = small(n_train=40)
    monkeypatch.setattr("baselines.planning.CHUNK_FLOPS", 1)
    monkeypatch.setattr("baselines.planning.LARGEST", 8)
    run = sr.train(workload)
    whole = Planner()
    whole.truth(workload, engine="stacked")
    (training_stage,), (stage,) = stages(whole, "training").values(), stages(whole, "retraining").values()
    assert (training_stage.source, list(training_stage.tasks)) == (STORED, [])
    assert len(stage.tasks) > 3
    truth = retraining_truth(run, single_points(run), "stacked")
    chunk = sorted(truth.path.glob("chunk-*.json"))[1]
    chunk.unlink()
    part, done = Planner(), Planner()
    part.truth(workload, engine="stacked")
    assert list(stages(part, "retraining").popitem()[1].tasks) == [stage.tasks[1]]
    retraining_truth(run, single_points(run), "stacked")
    done.truth(workload, engine="stacked")
    assert stages(done, "retraining").popitem()[1].source == STORED
    assert done.estimate().device_seconds == done.estimate().disk_bytes == 0


def test_a_training_that_was_interrupted_counts_from_where_it_stopped(fresh_store, counting, monkeypatch):
    workload = small(steps=20)

    def stopping(self, t, state, step=training._Trainer.step):
        if t == 15:
            raise KeyboardInterrupt
        return step(self, t, state)

    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training._Trainer, "step", stopping)
        sr.train(workload)
    planner = Planner()
    planner.training(workload)
    assert sum(stages(planner, "training").popitem()[1].tasks) == 5


def test_a_truth_that_comes_with_the_project_takes_nothing(fresh_store, counting):
    planner = Planner()
    workload = sr.load_workload("cancer-logreg")
    planner.validation("grad-dot", workload)
    (stage,) = stages(planner, "retraining").values()
    assert (stage.source, list(stage.tasks)) == (SHIPPED, [])
    planner = Planner()
    planner.truth(workload, engine="stacked")
    assert stages(planner, "retraining").popitem()[1].tasks


def test_pieces_that_share_their_network_and_truth_are_planned_once(fresh_store, counting):
    planner = Planner()
    for seed in (0, 1):
        for method in ("grad-dot", "tracin", "loo"):
            planner.validation(method, replace(small(steps=4, n_removed=3), seed=seed))
    works = [stage.work for stage in planner.stages]
    for work, times in {"training": 2, "retraining": 2, "scores": 4}.items():
        assert sum(found.startswith(work) for found in works) == times


def test_a_validation_that_is_stored_takes_nothing(fresh_store, counting):
    workload = small(n_train=30, steps=5)
    baselines.validate("grad-dot", workload)
    planner = Planner()
    planner.validation("grad-dot", workload)
    assert planner.estimate().device_seconds == 0
    assert stages(planner, "scores").popitem()[1].source == STORED


def test_measures_and_further_runs_are_counted(fresh_store, counting):
    workload = small(n_train=30, steps=8)
    planner = Planner()
    planner.validation("grad-dot", workload, runs=3, measures=["lds=0.1,0.5"])
    assert sum(stages(planner, "scores").popitem()[1].tasks) == 2 * 8  # two more trainings
    assert sum(stages(planner, "lds").popitem()[1].tasks) == 8  # all 100 in one program


def test_scores_whose_growth_is_not_known_are_named(fresh_store, counting, registering):
    @sr.method("mine", summary="zeros", source="a test")
    def mine(run, queries):
        return torch.zeros(run.n_train, len(queries))

    planner = Planner()
    planner.validation("mine", small(steps=3))
    (line,) = planner.unknown
    assert "mine on digits-logreg" in line and "growth=" in line


def test_without_data_random_points_of_their_shape_stand_in(fresh_store, counting, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    sizes = {"n_train": 12, "n_query": 2, "n_tuning": 2, "n_validation": 2, "steps": 2, "batch_size": 5}
    for name, settings in (
        ("cifar100-cnn", {"channels": (2, 2)}),
        ("miniimagenet-resnet9", {"image_size": 8, "width": 2}),
    ):
        planner = Planner()
        planner.truth(sr.load_workload(name).override(**sizes, **settings, n_removed=3))
        assert planner.estimate().device_seconds > 2
        assert "stand in" in planner.notes[0] and str(tmp_path) in planner.notes[0]

    @dataclass(frozen=True)
    class Mine:
        def load(self, seed):
            raise SamattrError("fetch it first")

    with pytest.raises(SamattrError, match="fetch it first"):
        Planner().truth(sr.Workload("mine", Mine(), sr.MLP()))


@needs_cpu
def test_a_second_is_one_of_computing(monkeypatch):
    probe = Probe()
    monkeypatch.setattr("time.perf_counter", iter([0.0, 6.0]).__next__)
    monkeypatch.setattr("time.process_time", iter([0.0, 2.0]).__next__)
    assert probe.time(lambda: None) == 2.0
    assert probe.load == pytest.approx(2 / 3)  # of the wall clock, others had the core


@pytest.mark.timing
@pytest.mark.parametrize(
    "workload",
    [
        small("digits-logreg", n_train=200, steps=300, batch_size=50),
        small("digits-mlp", n_train=200, steps=100, batch_size=50),
        small_cnn(n_removed=12, steps=60),
    ],
    ids=["logreg", "mlp", "cnn"],
)
def test_a_plan_is_nearly_what_its_work_takes(workload, tmp_path, monkeypatch):
    """Within 25 % on a quiet machine, see `python -m tests.campaigns plan`; here both are of one process."""
    ratios = []
    for attempt in range(3):
        monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / str(attempt)))
        planner, probe = Planner(), Probe()
        planner.truth(workload)
        planned = sum(sum(stage.tasks) for stage in planner.stages if "training" in stage.work)
        taken = probe.time(lambda: leave_one_out(sr.train(workload)))
        ratios.append(planned / taken)
        print(f"{workload.name}: {planned:.2f} s planned, {taken:.2f} s taken")
        if 1 / 1.6 < ratios[-1] < 1.6:
            return
    pytest.fail(f"planned over taken: {ratios}")
