"""Looking after the store: what is listed, found damaged, swept, exported and imported."""

import io
import json
import os
import shutil
import tarfile
import time

import pytest
import torch

import samattr_ref as sr
from samattr_ref.support import store, upkeep
from tests.conftest import small


def filled(count=3):
    for i in range(count):
        path = store.folder("cells", f"{i:024x}")
        store.save(path, "cell", {"i": i}, {"x": torch.full((4,), float(i))} if i % 2 else None)
    return sorted(store.root().glob("cells/*"))


def contents():
    return {path.relative_to(store.root()): path.read_bytes() for path in store.root().rglob("*") if path.is_file()}


def test_what_is_there_is_listed(fresh_store, samattr):
    filled()
    sr.train(small())
    found = list(upkeep.artefacts())
    assert [one.kind for one in found] == ["runs", "cells", "cells", "cells"]
    assert sum(one.size for one in found) == sum(len(content) for content in contents().values())
    said = samattr("store", "ls")[1]
    assert "| cells  | 3 " in said and "| runs   | 1 " in said
    listed = json.loads(samattr("store", "ls", "cells", "--json")[1])["artefacts"]
    assert [row["artefact"] for row in listed] == [f"{i:024x}/cell" for i in range(3)]
    code, _, said = samattr("store", "ls", "cels")
    assert code == 1 and "did you mean 'cells'?" in said


def test_damage_is_found_and_swept_where_that_is_asked_for(fresh_store, samattr):
    folders = filled()
    assert samattr("store", "verify")[:2] == (0, "3 artefacts, 0 damaged\n")
    (folders[1] / "cell.safetensors").write_bytes(b"x")
    shutil.copy(folders[0] / "cell.json", folders[2] / "cell.json")
    code, out, said = samattr("store", "verify")
    assert code == 1 and "3 artefacts, 2 damaged" in out and "its tensors are not" in out and "it is that of" in out
    assert said.strip().endswith("samattr store gc --damaged removes them")
    code, _, said = samattr("store", "export", str(fresh_store.parent / "all.tar"))
    assert code == 1 and "is damaged" in said and not (fresh_store.parent / "all.tar").exists()
    assert samattr("store", "gc")[1] == "0 files removed\n"
    assert samattr("store", "gc", "--damaged")[1] == "3 files removed\n"
    assert [one.path for one in upkeep.artefacts()] == folders[:1]


def test_only_what_nobody_reads_is_swept(fresh_store):
    run = sr.train(small())
    upkeep.sweep()  # its lock
    before = contents()
    (path,) = fresh_store.glob("runs/*")
    for name in (f"{store.UNFINISHED}a", "chunk-00009.safetensors", "partial-000000003.json"):
        (path / name).write_bytes(b"half")
    (fresh_store / "runs" / "f.lock").touch()
    assert len(upkeep.sweep()) == 2  # what is being written now stays: a state of a finished run and a lock go
    for left in path.iterdir():
        os.utime(left, (time.time() - 7200,) * 2)
    assert len(upkeep.sweep()) == 2
    assert contents() == before
    assert torch.equal(sr.train(small()).parameters, run.parameters)


def test_a_lock_that_is_held_stays(fresh_store):
    filled(1)
    with store.lock(fresh_store / "cells" / "held"):
        upkeep.sweep()
        assert (fresh_store / "cells" / "held.lock").exists()


def test_a_store_is_taken_elsewhere(fresh_store, tmp_path, monkeypatch, samattr):
    filled()
    run = sr.train(small())
    target = tmp_path / "all.tar"
    assert samattr("store", "export", str(target))[1] == f"4 artefacts in {target}\n"
    before = {name: content for name, content in contents().items() if name.suffix != ".lock"}
    monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / "elsewhere"))
    assert samattr("store", "import", str(target))[1] == "4 artefacts are new, 0 were there\n"
    assert contents() == before
    assert torch.equal(sr.train(small()).parameters, run.parameters)
    assert samattr("store", "import", str(target))[1] == "0 artefacts are new, 4 were there\n"


def test_failures_are_recorded_and_gone_once_it_is_made(fresh_store, samattr):
    path = store.folder("cells", "0" * 24)
    store.record_failure(path, "a cell", "the disk was full")
    assert "a cell: the disk was full" in samattr("store", "ls")[1]
    assert [one["reason"] for one in upkeep.failures()] == ["the disk was full"]
    assert not list(upkeep.artefacts()) and store.load(path, "cell") is None
    (path / "failure.json").write_text("{")
    assert "the record of a failure" in samattr("store", "ls")[1]
    store.save(path, "cell", {})
    assert not list(upkeep.failures())


def archive(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            member.linkname = "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    return path


KEY = "0" * 24


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside.json", tarfile.REGTYPE),
        ("/etc/cron.d/x.json", tarfile.REGTYPE),
        (f"cells/{KEY}/../../../x.json", tarfile.REGTYPE),
        (f"cells/{KEY}/..json", tarfile.SYMTYPE),
        (f"cells/{KEY}/cell.json", tarfile.SYMTYPE),
        (f"cells/{KEY}/cell.json", tarfile.LNKTYPE),
        (f"cells/{KEY}/cell.json", tarfile.CHRTYPE),
        (f"cells/{KEY}", tarfile.DIRTYPE),
        (f"cells/{KEY}/cell.pkl", tarfile.REGTYPE),
        (f"secrets/{KEY}/cell.json", tarfile.REGTYPE),
        (f"cells/{KEY}/cell.json\n", tarfile.REGTYPE),
    ],
)
def test_what_is_no_artefact_is_not_unpacked(fresh_store, tmp_path, name, kind):
    filled()
    before, outside = contents(), set(tmp_path.iterdir())
    content = b"x" if kind == tarfile.REGTYPE else b""
    bad = archive(tmp_path / "bad.tar", [(name, content, kind)])
    with pytest.raises(sr.SamattrError, match="nothing was taken from it") as raised:
        upkeep.import_store(bad)
    assert "\n" not in str(raised.value)
    assert contents() == before and set(tmp_path.iterdir()) == {*outside, bad}


def test_a_member_larger_than_its_archive_is_a_bomb(fresh_store, tmp_path):
    bad = archive(tmp_path / "bad.tar", [(f"cells/{KEY}/cell.json", b"{}", tarfile.REGTYPE)])
    data = bytearray(bad.read_bytes())
    member = tarfile.TarInfo(f"cells/{KEY}/cell.json")
    member.size = 2**40
    data[:512] = member.tobuf()
    bad.write_bytes(data)
    with pytest.raises(sr.SamattrError, match="more than its own size"):
        upkeep.import_store(bad)
    assert not contents()


def test_members_that_share_their_bytes_are_a_bomb(fresh_store, tmp_path):
    """A sparse member says where in the file its bytes are, and has none of its own."""
    member = tarfile.TarInfo(f"cells/{KEY}/cell.json")
    member.pax_headers = {"GNU.sparse.size": "9000", "GNU.sparse.map": "0,0", "GNU.sparse.major": "0"}
    with tarfile.open(tmp_path / "bad.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for _ in range(50):
            tar.addfile(member)
    assert (tmp_path / "bad.tar").stat().st_size < 50 * 9000
    with pytest.raises(sr.SamattrError, match="more than its own size"):
        upkeep.import_store(tmp_path / "bad.tar")
    assert not list(fresh_store.iterdir())


def test_what_an_import_left_is_swept(fresh_store):
    left = fresh_store / f"{store.UNFINISHED}abc" / "cells"
    left.mkdir(parents=True)
    upkeep.sweep()
    assert left.exists()
    os.utime(left.parent, (time.time() - 7200,) * 2)
    upkeep.sweep()
    assert not left.parent.exists()


def test_a_store_that_cannot_be_written_takes_nothing(tmp_path, monkeypatch, samattr):
    filled_at = tmp_path / "full"
    monkeypatch.setenv("SAMATTR_STORE", str(filled_at))
    filled()
    upkeep.export_store(tmp_path / "all.tar")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / "file"))
    code, _, said = samattr("store", "import", str(tmp_path / "all.tar"))
    assert code == 1 and said.startswith("samattr: ") and "cannot be written" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240])
def test_what_is_no_archive_is_one_line(fresh_store, tmp_path, content):
    (tmp_path / "bad.tar").write_bytes(content)
    with pytest.raises(sr.SamattrError, match=r"is no archive|holds no artefact"):
        upkeep.import_store(tmp_path / "bad.tar")
    with pytest.raises(sr.SamattrError, match="cannot be read"):
        upkeep.import_store(tmp_path / "nowhere.tar")


def test_an_archive_with_one_damaged_artefact_changes_nothing(fresh_store, tmp_path, monkeypatch):
    folders = filled()
    members = [
        (path.relative_to(fresh_store).as_posix(), path.read_bytes(), tarfile.REGTYPE)
        for folder in folders
        for path in folder.iterdir()
    ]
    name, content, kind = members[-1]
    bad = archive(tmp_path / "bad.tar", [*members[:-1], (name, content.replace(b"2", b"3"), kind)])
    monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / "elsewhere"))
    with pytest.raises(sr.SamattrError, match="is damaged"):
        upkeep.import_store(bad)
    assert not contents()
