"""The plan of retrainings: the same every time, whatever the machine is doing."""

import os
import subprocess
import sys

import pytest

import samattr_ref as sr
from baselines import planning
from baselines.planning import balanced, plan_retraining, step_flops
from tests.conftest import small, small_cnn


def test_chunks_are_balanced():
    assert balanced(501, 256) == 251
    assert balanced(1, 128) == 1


def test_what_is_fastest_for_such_networks_is_taken():
    plan = plan_retraining(sr.train(small(n_train=300, steps=5)), 301)
    assert (plan.engine, plan.together) == ("stacked", balanced(301, planning.LARGEST))
    assert plan.chunk % plan.together == 0
    cnn = plan_retraining(sr.train(small_cnn()), 41)
    on_cpu = not sr.train(small_cnn()).parameters.is_cuda
    assert (cnn.engine, cnn.together) == (("loop", 1) if on_cpu else ("batched", 41))
    assert plan_retraining(sr.train(small(variant="esam")), 61).engine == "batched"


def test_larger_networks_run_fewer_together(monkeypatch):
    run = sr.train(small(steps=5))
    monkeypatch.setattr(planning, "STACKED_BYTES", 20 * run.parameters.nbytes)
    assert run.parameters.is_cuda or plan_retraining(run, 20).together == 20
    monkeypatch.setattr(planning, "STACKED_BYTES", 1)
    assert run.parameters.is_cuda or plan_retraining(run, 20).together == balanced(20, planning.LEAST)
    monkeypatch.setattr(planning, "MEMORY_BYTES", 1)
    assert plan_retraining(run, 20).together == 1


def test_floating_point_operations_are_those_of_two_gradients():
    run = sr.train(small(batch_size=20))
    forward = 2 * 20 * 64 * 10
    assert step_flops(run) == 2 * 2 * forward  # forward and the weights' gradient; inputs need none; ascent and descent


def test_a_plan_is_not_timed(monkeypatch):
    def timed(*_):
        raise AssertionError

    monkeypatch.setattr(planning, "seconds_a_step", timed)
    run = sr.train(small())
    assert plan_retraining(run, 61) == plan_retraining(run, 61)


def test_long_work_is_compiled_where_it_can_be(monkeypatch):
    run = sr.train(small(n_train=300, steps=5))
    monkeypatch.setattr(planning, "COMPILE_FLOPS", 0.0)
    compiled = []
    monkeypatch.setattr(planning, "seconds_a_step", lambda run, engine, together: compiled.append((engine, together)))
    plan = plan_retraining(run, 301)
    assert (plan.engine, compiled) == ("compiled", [("compiled", plan.together)])

    def no_compiler(*_):
        raise RuntimeError("InvalidCxxCompiler: no compiler")

    monkeypatch.setattr(planning, "seconds_a_step", no_compiler)
    assert plan_retraining(run, 301).engine == "stacked"
    with pytest.raises(sr.SamattrError, match="use the engine stacked"):
        plan_retraining(run, 301, "compiled")


TRUTH = """
import baselines, samattr_ref as sr, torch
from samattr_ref.support.seeds import values_digest
run = sr.train(sr.load_workload("digits-mlp").override(n_train=100, n_query=5, steps=40))
truth = baselines.leave_one_out(run)
print(truth.sha256, values_digest(truth.parameters), values_digest(run.parameters), torch.get_num_threads())
"""


@pytest.mark.slow
def test_a_truth_is_the_same_bit_for_bit_in_every_process(tmp_path):
    """Retrainings that run together are one program of one thread, however many threads there are."""
    found = []
    for i, threads in enumerate(("1", "2", "2")):
        given = {**os.environ, "SAMATTR_STORE": str(tmp_path / str(i)), "OMP_NUM_THREADS": threads}
        found.append(subprocess.check_output([sys.executable, "-c", TRUTH], env=given, text=True).split())
    one, two, again = found
    assert two == again and (one[3], two[3]) == ("1", "2")
    assert one[1] == two[1]  # the run itself takes all threads, and its own losses differ by rounding
