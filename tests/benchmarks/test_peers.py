"""The peer benchmark on a tiny problem: every library's numbers are ours, and nothing is timed before they are."""

import json
import logging
import subprocess
import sys

import pytest

from benchmarks.peers import __main__ as program
from benchmarks.peers.libraries import PEERS
from benchmarks.peers.work import WORKS, Work, relative_difference
from reports.load import SAID
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.timing import Timing

OPTIONAL = {"dattri": "dattri", "kronfluence": "kronfluence", "traker": "trak"}
"""The modules of the peers that the tests do without; captum and torch are always there."""
TINY = Work("tiny", "digits-mlp", {"n_train": 30, "n_query": 7, "steps": 20})


@pytest.fixture(autouse=True)
def root_logger():
    """Some of the libraries set its level."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="module")
def problem():
    return TINY.problem()


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Rows and table in a folder of their own, the tiny problem among the works; no GPU is named in them."""
    monkeypatch.setitem(WORKS, "tiny", TINY)
    monkeypatch.setattr(program, "ROWS", tmp_path / "rows.json")
    monkeypatch.setattr(program, "TABLE", tmp_path / "table.md")
    monkeypatch.setattr(program, "environment", lambda: environment() | {"gpu": None})
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("batch", [30, 8])
@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_gives_our_numbers(peer, batch, problem):
    if peer in OPTIONAL:
        pytest.importorskip(OPTIONAL[peer], reason=peer)
    ours = problem.ours()
    calculate = PEERS[peer](problem, batch)
    assert ours.shape == (30, 7)
    for _ in range(2):  # a second call computes again, and the network that we use is as it was
        assert relative_difference(calculate().detach(), ours) < program.TOLERANCE
    assert relative_difference(problem.ours(), ours) == 0


def test_rows_and_table_say_what_was_measured(stored, capsys):
    program.main(run=True, as_json=True, peers="captum,torch.func", works="tiny", repeats=3)
    rows = json.loads(capsys.readouterr().out)
    assert [row["peer"] for row in rows] == ["torch.func", "captum"]
    for row in rows:
        assert (row["work"], row["n_train"], row["n_query"], row["train_batch"]) == ("tiny", 30, 7, 30)
        assert row["max_relative_difference"] < program.TOLERANCE
        assert 0 < row["speedup"]["min"] <= row["speedup"]["median"] <= row["speedup"]["max"]
        assert 0 <= row["load"] <= 1
        assert row["command"] == f"python -m benchmarks.peers --run --peers {row['peer']} --works tiny --repeats 3"
    program.main(run=True, as_json=False, peers="captum", works="tiny", repeats=1)
    table = capsys.readouterr().out
    assert table == (stored / "table.md").read_text() + "\n"
    assert table.count("tiny, 30 × 7, P = 2410") == 2  # the new row took the old one's place
    assert "of 1 or 3 alternating calls" in table
    assert f"{rows[0]['environment']['cpu']}, {rows[0]['environment']['cores']} cores" in table
    assert "`python -m benchmarks.peers --run --repeats 3`" in table


def test_rows_of_other_hardware_stay_beside(stored, monkeypatch):
    program.main(run=True, as_json=False, peers="torch.func", works="tiny", repeats=1)
    here = program.environment()
    assert "Machine" not in (stored / "table.md").read_text()
    monkeypatch.setattr(program, "environment", lambda: here | {"gpu": "A fast card"})
    program.main(run=True, as_json=False, peers="torch.func", works="tiny", repeats=1)
    assert [row["environment"]["gpu"] for row in program.stored()] == ["A fast card", None]
    table = (stored / "table.md").read_text()
    assert "| Machine " in table and table.count("A fast card") == 2  # its row, and the line below


def test_disturbed_calls_are_left_out_or_marked(stored, monkeypatch):
    loads = [0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]  # the first chooses the batch; then ours and the peer's, three times
    monkeypatch.setattr(program, "timed", lambda call, tries=3: Timing(1.0 + loads[0], loads.pop(0)))
    program.main(run=True, as_json=True, peers="torch.func", works="tiny", repeats=3)
    (row,) = program.stored()
    assert (row["seconds"], row["disturbed"]) == ({"ours": 1.0, "peer": 1.0}, False)
    assert "*" not in (stored / "table.md").read_text()
    loads[:] = [0.0, *[0.5] * 6]
    program.main(run=True, as_json=True, peers="torch.func", works="tiny", repeats=3)
    assert (stored / "table.md").read_text().count("1.5 *") == 2
    assert SAID in (stored / "table.md").read_text()


def test_stored_rows_are_printed_without_measuring(stored, capsys, monkeypatch):
    program.main(run=True, as_json=True, peers="torch.func", works="tiny", repeats=1)
    measured = capsys.readouterr().out
    monkeypatch.setattr(program, "measure", None)
    program.main(run=False, as_json=True, peers="torch.func", works="tiny", repeats=1)
    assert json.loads(capsys.readouterr().out) == json.loads(measured)


@pytest.mark.parametrize("factor", [2.0, float("nan")])
def test_wrong_numbers_are_refused_before_any_time_is_taken(factor, stored, monkeypatch):
    wrong = PEERS["torch.func"]
    monkeypatch.setitem(PEERS, "torch.func", lambda problem, batch: lambda: wrong(problem, batch)() * factor)
    monkeypatch.setattr(program, "timed", lambda _: pytest.fail("a time was taken"))
    with pytest.raises(SamattrError, match=r"torch\.func differs by .* on tiny"):
        program.main(run=True, as_json=False, peers="torch.func", works="tiny", repeats=1)
    assert not (stored / "rows.json").exists()


def test_a_peer_that_is_not_installed_is_named(stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.influence", None)
    with pytest.raises(SamattrError, match=r"captum\.influence is missing: pip install"):
        program.main(run=True, as_json=False, peers="captum", works="tiny", repeats=1)


@pytest.mark.slow
def test_an_unknown_peer_is_one_line_and_status_1():
    command = [sys.executable, "-m", "benchmarks.peers", "--run", "--peers", "captun"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.splitlines() == [
        f"benchmarks.peers: unknown peer 'captun': did you mean 'captum'? known: {', '.join(sorted(PEERS))}"
    ]
