"""The two doors: what is registered, what installed packages bring, and what neither may do."""

import functools
from importlib.metadata import EntryPoint

import pytest

from samattr_ref.support import registered
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.registered import Registry


@pytest.fixture
def things(monkeypatch, tmp_path):
    """A registry of texts; and a package elsewhere, in a module that registers one and has one that it does not."""
    found = Registry("thing", "samattr.things", lambda *given: found.add(*given))
    (tmp_path / "elsewhere_things.py").write_text("alone = 'alone'\nnumber = 1 / 1\n")
    (tmp_path / "elsewhere_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    return found


def install(monkeypatch, *entries):
    points = [EntryPoint(name, value, "samattr.things") for name, value in entries]
    monkeypatch.setattr(registered, "entry_points", lambda group: points)


def test_both_doors_and_the_projects_own_first(things, monkeypatch):
    install(monkeypatch, ("a", "elsewhere_things:alone"), ("z", "samattr_ref.support.errors:__doc__"))
    things.add("mine", "mine", "samattr_ref.mine")
    assert list(things) == ["mine", "z", "a"]
    assert things.named("a") == "alone"
    with pytest.raises(SamattrError, match="unknown thing 'mien': did you mean 'mine'"):
        things.named("mien")


def test_what_does_not_load_is_one_line_and_stops_nothing(things, monkeypatch, caplog):
    install(monkeypatch, ("a", "elsewhere_broken:x"), ("b", "nowhere.at.all"), ("c", "elsewhere_things:alone"))
    things.add("mine", "mine", "samattr_ref.mine")
    assert list(things) == ["mine", "c"]
    assert [record.getMessage() for record in caplog.records] == [
        "thing 'a' (elsewhere_broken:x) is left out: it does not load: ZeroDivisionError: division by zero",
        "thing 'b' (nowhere.at.all) is left out: it does not load: ModuleNotFoundError: No module named 'nowhere'",
    ]
    list(things)
    assert len(caplog.records) == 2  # said once


def test_no_name_is_taken_from_another(things, monkeypatch, caplog):
    install(monkeypatch, ("mine", "elsewhere_things:alone"), ("own", "samattr_ref.support.errors:__doc__"))
    things.add("mine", "mine", "samattr_ref.mine")
    things.add("own", "not theirs", "someone")  # before anybody asked what the project has
    assert things["mine"] == "mine" and things["own"] != "not theirs"
    assert [record.getMessage() for record in caplog.records] == [
        "thing 'own' of someone is left out: samattr_ref.support.errors has one of that name",
        "thing 'mine' of elsewhere_things is left out: samattr_ref.mine has one of that name",
    ]


def test_a_module_may_register_its_own_again(things, monkeypatch, caplog):
    install(monkeypatch)
    for value in ("first", "second"):
        things.add("mine", value, "notebook")
    assert things["mine"] == "second" and not caplog.records


def test_a_module_that_leaves_the_program_or_prints_stops_nothing(things, monkeypatch, caplog, capsys, tmp_path):
    (tmp_path / "elsewhere_leaving.py").write_text("import sys\nprint('on my way')\nsys.exit(3)\n")
    install(monkeypatch, ("a", "elsewhere_leaving:x"), ("b", "elsewhere_things:alone"))
    assert list(things) == ["b"]
    assert caplog.messages == ["thing 'a' (elsewhere_leaving:x) is left out: it does not load: SystemExit: 3"]
    assert capsys.readouterr() == ("", "on my way\n")


def test_who_stops_the_program_stops_loading(things, monkeypatch, tmp_path):
    (tmp_path / "elsewhere_stopped.py").write_text("raise KeyboardInterrupt\n")
    install(monkeypatch, ("a", "elsewhere_stopped:x"))
    with pytest.raises(KeyboardInterrupt):
        list(things)


def test_of_a_module_that_fails_half_way_nothing_stays(things, monkeypatch, tmp_path):
    """What it imported before, and can be imported, does."""
    monkeypatch.setattr(registered, "things", things, raising=False)
    adding = "from samattr_ref.support.registered import things\nthings.add('{name}', '{name}', __name__)\n"
    (tmp_path / "elsewhere_whole.py").write_text(adding.format(name="whole"))
    (tmp_path / "elsewhere_half.py").write_text(f"import elsewhere_whole\n{adding.format(name='half')}1 / 0\n")
    install(monkeypatch, ("a", "elsewhere_half"), ("b", "elsewhere_whole"))
    assert list(things) == ["whole"]
    things.add("half", "of another", "someone")
    assert things["half"] == "of another"


def test_a_thing_cannot_say_that_it_is_the_projects_own():
    @functools.wraps(SamattrError.__init__)
    def theirs():
        return None

    theirs.__module__ = "baselines.methods.tracin"
    assert registered.home_of(theirs, "elsewhere.methods") == "elsewhere.methods"
    assert registered.home_of(theirs, "samattr_ref.implicit.attribution") == "baselines.methods.tracin"
