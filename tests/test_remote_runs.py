"""Runs from and to object storage have the bytes of local ones, whatever happens on the way."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import check_refused, contents, coreset, done, started, wait_until
from folders import random_vectors, write_clip_retrieval
from proxy import FAULTS, Proxy, proxied
from stores import KEY, SECRET, connect, new_bucket, objects, s3_server, upload

from coreset.engine import files, retries, stores
from coreset.engine.books import write_book
from coreset.engine.files import join
from coreset.engine.outgoing import outgoing

pytest.importorskip("s3fs")
pytest.importorskip("moto")

QUICK = {"CORESET_REMOTE_TIMEOUT": "2", "CORESET_REMOTE_DEADLINE": "40"}


@pytest.fixture(scope="module")
def storage() -> Iterator[tuple[Proxy, str]]:
    """A store behind a proxy, and a bucket in it."""
    before = dict(os.environ)
    os.environ.update(QUICK)
    with s3_server() as server, proxied(server) as (proxy, address):
        connect(address)
        yield proxy, new_bucket()
    os.environ.clear()
    os.environ.update(before)
    stores._stores.clear()


@pytest.fixture
def proxy(storage: tuple[Proxy, str]) -> Iterator[Proxy]:
    """The proxy, which does nothing before and after."""
    storage[0].judge = lambda number, method, path: None
    storage[0].reset()
    yield storage[0]
    storage[0].judge = lambda number, method, path: None


@pytest.fixture(scope="module")
def bucket(storage: tuple[Proxy, str], pristine: Path) -> str:
    """A bucket with the shards in it."""
    upload(pristine / "shards", join(storage[1], "laion", "shards"))
    return storage[1]


@pytest.fixture(scope="module")
def made(bucket: str, pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that was made from the bucket into the bucket; not to be written to."""
    place = tmp_path_factory.mktemp("made")
    (place / "coreset.toml").write_text((pristine / "coreset.toml").read_text())
    selected(bucket, join(bucket, "made"), place)
    return join(bucket, "made")


@pytest.fixture
def run(bucket: str, request: pytest.FixtureRequest) -> str:
    """A folder of one's own for a run."""
    return join(bucket, f"run-{abs(hash(request.node.name))}")


def selected(bucket: str, run: str, place: Path, *flags: str) -> None:
    """All stages, from the bucket into the bucket."""
    text = (place / "coreset.toml").read_text()
    tars = join(bucket, "laion", "shards", "{00000..00001}.tar")
    recipe = text.replace(text.partition("input = ")[2].partition("\n")[0], f'["{tars}"]')
    (place / "remote.toml").write_text(recipe)
    done("run", "remote.toml", "--max-bad", "10", "--run", run, *flags, cwd=place)


def test_a_run_from_and_to_s3_has_the_bytes_of_a_local_one(
    bucket: str, made: str, proxy: Proxy, place: Path, undisturbed: Path
) -> None:
    found = {name: content for name, content in objects(made).items() if not name.startswith("report/")}
    assert found == contents(undisturbed / "run")
    bucket_name = bucket.partition("://")[2]
    assert bucket_name.encode() not in b"".join(objects(made).values())
    assert json.loads(files.read_bytes(join(made, "run.json")))["root"] == join(bucket, "laion", "shards")
    assert [name for name in files.names_in(made) if name.startswith(".")] == []
    proxy.reset()
    selected(bucket, made, place)
    assert proxy.requests["PUT"] == 1  # the lock


@pytest.mark.parametrize(
    "flags",
    [pytest.param((), id="processes", marks=pytest.mark.campaign), pytest.param(("--ray", "local"), id="ray")],
)
def test_workers_of_a_run_in_s3_change_no_byte(
    bucket: str, run: str, place: Path, undisturbed: Path, flags: tuple[str, ...]
) -> None:
    selected(bucket, run, place, "--workers", "2", *flags)
    assert objects(run) == contents(undisturbed / "run")


def test_commands_that_read_a_run_read_one_in_s3(bucket: str, run: str, place: Path, undisturbed: Path) -> None:
    upload(undisturbed / "run", run)
    files.write_json(join(run, "run.json"), {"root": join(bucket, "laion", "shards"), "stages": {}})
    there = ("--run", run)
    here = ("--run", str(undisturbed / "run"))
    assert json.loads(done("status", "--json", *there, cwd=place).out)["next"] == f"coreset verify --run {run}"
    done("verify", *there, cwd=place)
    decided = [
        done("decisions", where, *flags, cwd=place)
        for where, flags in ((join(run, "d.parquet"), there), ("d.parquet", here))
    ]
    assert decided[0].out.splitlines()[:-1] == decided[1].out.splitlines()[:-1]
    assert files.read_bytes(join(run, "d.parquet")) == (place / "d.parquet").read_bytes()
    assert done("explain", "000000000", *there, cwd=place).out == done("explain", "000000000", *here, cwd=place).out
    assert done("sweep", *there, cwd=place).out == done("sweep", "--run", "run", cwd=_copy(undisturbed, place)).out


def _copy(undisturbed: Path, place: Path) -> Path:
    import shutil

    shutil.copytree(undisturbed / "run", place / "run")
    return place


@pytest.mark.parametrize("form", ["webdataset", "llava", "hf", "keys"])
def test_an_export_to_s3_is_that_to_a_disk(form: str, bucket: str, run: str, place: Path, undisturbed: Path) -> None:
    done("export", form, "out", "--run", str(undisturbed / "run"), cwd=place)
    done("export", form, join(run, "out"), "--run", str(undisturbed / "run"), cwd=place)
    assert objects(join(run, "out")) == contents(place / "out")
    done("verify", join(run, "out"), "--run", str(undisturbed / "run"), cwd=place)
    files.write_bytes(join(run, "mine", "notes.txt"), b"x")
    said = coreset("export", form, join(run, "mine"), "--run", str(undisturbed / "run"), cwd=place)
    check_refused(said, 3, "holds notes.txt and is no export")


def test_a_folder_of_vectors_in_s3_is_imported_where_it_lies(bucket: str, run: str, place: Path) -> None:
    write_clip_retrieval(place / "vectors", random_vectors(300), 3)
    upload(place / "vectors", join(bucket, "vectors"))
    for source, where in ((str(place / "vectors"), "run"), (join(bucket, "vectors"), run)):
        done("import", source, "--run", where, cwd=place)
        done("dedup", "--clusters", "3", "--run", where, cwd=place)
    assert objects(run) == contents(place / "run")
    done("import", join(bucket, "vectors"), "--run", run, cwd=place)
    name = join(bucket, "vectors", "img_emb", "img_emb_0.npy")
    files.write_bytes(name, files.read_bytes(name)[:-2] + b"\0\0")
    said = coreset("dedup", "--clusters", "4", "--overwrite", "--run", run, cwd=place)
    check_refused(said, 3, "img_emb_0.npy has other bytes than when it was imported")


def test_a_run_that_is_killed_continues(bucket: str, run: str, place: Path, undisturbed: Path) -> None:
    upload(undisturbed / "run", run)
    files.remove(join(run, "dedup"))
    files.remove(join(run, "clusters", "stage.json"))
    files.remove(join(run, "clusters", "00000.parquet"))
    files.remove(join(run, "rows", "stage.json"))
    files.remove(join(run, "rows", "00001.parquet"))
    process = started("run", "--max-bad", "10", "--run", run, cwd=place)
    wait_until(lambda: files.size_of(join(run, ".lock")) is not None)
    check_refused(coreset("sample", "--run", run, cwd=place), 6, f"{run} is being written by process {process.pid}")
    wait_until(lambda: files.size_of(join(run, "rows", "stage.json")) is not None)
    process.kill()
    process.wait()
    assert files.size_of(join(run, ".lock")) is not None  # of a dead process: taken over at once
    done("run", "--max-bad", "10", "--run", run, cwd=place)
    assert objects(run) == contents(undisturbed / "run")
    assert files.size_of(join(run, ".lock")) is None


def test_a_lock_of_another_machine_is_taken_over_when_it_is_old(
    run: str, bucket: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coreset.engine import remote_lock
    from coreset.engine.lock import sole_writer, writer_of

    monkeypatch.setattr(remote_lock, "BEAT", 0.1)
    monkeypatch.setattr(remote_lock, "PAUSE", 0.1)
    owner = {"host": "elsewhere", "pid": 7, "since": "2026-01-01 00:00:00", "machine": "another", "began": "1"}
    lock = {"owner": owner, "beat": time.time()}
    files.write_json(join(run, ".lock"), lock)
    assert str(writer_of(run)) == "process 7 on elsewhere since 2026-01-01 00:00:00"
    check_refused(coreset("sample", "--run", run, cwd=place), 6, "process 7 on elsewhere", "ends by itself 120 s after")
    files.write_json(join(run, ".lock"), {**lock, "beat": time.time() - 200})
    assert writer_of(run) is None
    with sole_writer(run):
        first = remote_lock.said_of(join(run, ".lock"))
        wait_until(lambda: remote_lock.said_of(join(run, ".lock")).beat > first.beat)
        assert writer_of(run).pid == os.getpid()
    assert files.names_in(run) == []


def test_a_writer_whose_lock_is_taken_away_stops(run: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from coreset.engine import remote_lock
    from coreset.engine.errors import InUseError
    from coreset.engine.lock import sole_writer

    monkeypatch.setattr(remote_lock, "BEAT", 0.1)

    def write_long() -> None:
        with sole_writer(run):
            files.write_json(join(run, ".lock"), {"owner": {"host": "elsewhere"}, "beat": time.time()})
            time.sleep(5)

    with pytest.raises(InUseError, match="was taken over by another process"):
        write_long()
    assert files.size_of(join(run, ".lock")) is not None


@pytest.mark.campaign
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_network_change_no_byte_of_a_run(
    fault: str, bucket: str, run: str, proxy: Proxy, place: Path, undisturbed: Path
) -> None:
    every = 40 if fault == "silent" else 5
    proxy.judge = lambda number, method, path: fault if number % every == 3 else None
    selected(bucket, run, place)
    proxy.judge = lambda number, method, path: None
    assert objects(run) == contents(undisturbed / "run")
    assert proxy.faults[fault] >= 2


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_network_change_no_byte(fault: str, run: str, proxy: Proxy) -> None:
    content = os.urandom(300_000)
    proxy.judge = lambda number, method, path: fault if number in {2, 4, 5, 8} else None
    with outgoing(join(run, "00000.parquet"), new=True) as file:
        file.write(content)
    file.commit()
    write_book(join(run, "plan.json"), {"a": 1})
    files.write_bytes(join(run, "00000.npy"), content)
    assert files.read_bytes(join(run, "00000.parquet")) == content
    assert files.names_in(run) == ["00000.npy", "00000.parquet", "plan.json"]
    assert files.read_json(join(run, "plan.json")) == {"a": 1}
    assert proxy.faults[fault] >= 3
    proxy.judge = lambda number, method, path: None
    files.remove(run)
    assert files.names_in(run) == []


@pytest.mark.parametrize(
    ("status", "words"), [("403", ("may not be used (403", "AWS_ACCESS_KEY_ID", "~/.aws")), ("404", ("no such file",))]
)
def test_what_no_second_attempt_can_change_is_said_at_once(
    status: str, words: tuple[str, ...], bucket: str, run: str, proxy: Proxy, place: Path
) -> None:
    proxy.judge = lambda number, method, path: status if "laion" in path else None
    said = coreset("embed", join(bucket, "laion", "shards", "00000.tar"), "--run", run, cwd=place)
    check_refused(said, 3, *words)
    assert proxy.faults[status] == 1


def test_a_store_that_stays_away_is_one_sentence_when_the_deadline_is_over(
    bucket: str, run: str, proxy: Proxy, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(retries.DEADLINE, "2")
    proxy.judge = lambda number, method, path: "503" if "laion" in path else None
    said = coreset("embed", join(bucket, "laion", "shards", "00000.tar"), "--run", run, cwd=place)
    check_refused(said, 5, "could not be reached within", "(503)", "run the same command again")


def test_a_bucket_that_is_not_there_is_one_sentence(bucket: str, place: Path) -> None:
    said = coreset("embed", join(bucket, "laion", "shards", "*.tar"), "--run", "s3://no-such-bucket/run", cwd=place)
    check_refused(said, 3, "s3://no-such-bucket/run/.lock cannot be written: there is no such bucket")


def test_a_secret_is_written_nowhere(made: str, place: Path) -> None:
    run = made
    said = [coreset("report", "--run", run, cwd=place)]
    assert b"<img" in files.read_bytes(join(run, "report", "index.html"))
    said += [
        coreset("status", "--json", "--run", run, cwd=place),
        coreset("status", "--run", f"s3://me:{SECRET.replace('/', '')}@bucket/run", cwd=place),
        coreset("embed", f"s3://me:{SECRET.replace('/', '')}@bucket/0.tar", "--run", run, cwd=place),
        coreset("init", f"https://host/0.tar?X-Amz-Signature={SECRET}", cwd=place),
        coreset("export", "keys", f"s3://me:{SECRET.replace('/', '')}@bucket/out", "--run", run, cwd=place),
        coreset("decisions", f"https://host/d.parquet?sig={SECRET}", "--run", run, cwd=place),
    ]
    assert [one.code for one in said] == [0, 0, 3, 3, 3, 3, 3]
    text = "".join(one.out + one.err for one in said).encode()
    text += b"".join(files.read_bytes(join(run, name)) for name in remote_names(run))
    text += b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file() and path.suffix != ".tar")
    for secret in (SECRET, SECRET.replace("/", ""), KEY):
        assert secret.encode() not in text


def remote_names(run: str) -> list[str]:
    from coreset.engine.remote import listed

    return list(listed(run, deep=True))
