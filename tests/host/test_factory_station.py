"""The station: one unit to SEALED, from a cut at every request and at every write of the board."""

import datetime
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from loader import cbor
from node.core import csr
from outpost.errors import OutpostError
from outpost.factory.audit import AuditLog
from outpost.factory.authority import CaAuthority
from outpost.factory.journal import STATES, Journal
from outpost.factory.settings import DeviceSettings, Wifi
from outpost.factory.station import Station
from outpost.factory.steps import Plan
from outpost.fleet.pki import Ca

from tests.host.fake_board import Cut, FakeBoard

DAY = datetime.date(2026, 11, 21)
PASSWORD = "correct horse battery"
SETTINGS = DeviceSettings(
    "broker", 8883, "http://fleet/update", (Wifi("plant", PASSWORD),), ("ntp",)
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CaAuthority:
    folder = tmp_path_factory.mktemp("ca")
    Ca.create(folder / "ca")
    return CaAuthority(folder / "ca")


class Bench:
    """Stations over one folder: each call is a new process after a crash."""

    def __init__(self, folder: Path, authority: CaAuthority) -> None:
        self.folder = folder
        self.plan = Plan(
            product="weather",
            manifest_sha256=hashlib.sha256(b"signed release").hexdigest(),
            settings=SETTINGS,
            authority=authority,
            i2c={"i2c0": (0x76,)},
        )
        self._open: list[Station] = []

    def station(self, board: FakeBoard) -> Station:
        made = Station.at(self.folder, self.plan, "operator-7", "bench-1")
        made.open_link = board.open
        made.today = lambda: DAY
        self._open.append(made)
        return made

    def close(self) -> None:
        for station in self._open:
            station.journal.close()


@pytest.fixture
def bench(tmp_path: Path, authority: CaAuthority) -> Iterator[Bench]:
    made = Bench(tmp_path, authority)
    yield made
    made.close()


def check_complete(board: FakeBoard, folder: Path, ca_der: bytes) -> None:
    """The board has one identity, it is the journal's, and the log is whole."""
    journal = Journal(folder / "journal.db")
    unit = journal.find(board.uid)
    assert unit is not None and unit.state == "SEALED" and unit.error == ""
    files = board.storage.files
    assert set(files) == {
        "/data/device.cbor",
        "/data/id/key.der",
        "/data/id/cert.der",
        "/data/id/ca.der",
    }
    assert files["/data/id/cert.der"] == unit.certificate
    assert files["/data/id/ca.der"] == ca_der
    assert csr.certifies(files["/data/id/cert.der"], files["/data/id/key.der"])
    certificate = x509.load_der_x509_certificate(files["/data/id/cert.der"])
    assert certificate.subject.rfc4514_string() == f"CN={unit.device_id}"
    assert cbor.decode(files["/data/device.cbor"])["id"] == unit.device_id
    assert len(journal.units()) == 1
    journal.close()
    AuditLog(folder / "audit.jsonl").verify()


def test_a_blank_board(bench: Bench, authority: CaAuthority) -> None:
    board = FakeBoard()
    told: list[str] = []
    station = bench.station(board)
    station.on_step = lambda unit, state: told.append(state)
    done = station.provision("port")
    assert tuple(told) == STATES[2:]
    assert done.device_id == "weather-2647-000001-" + done.device_id[-1]
    assert not done.resumed and not done.already and board.resets == 1
    check_complete(board, bench.folder, authority.ca_der)


def test_a_finished_board_is_left_alone(bench: Bench, authority: CaAuthority) -> None:
    board = FakeBoard()
    first = bench.station(board).provision("port")
    before = dict(board.storage.files)
    again = bench.station(board).provision("port")
    assert again.already and again.device_id == first.device_id
    assert board.storage.files == before


def test_again_gives_a_new_key_and_keeps_the_serial(bench: Bench, authority: CaAuthority) -> None:
    board = FakeBoard()
    first = bench.station(board).provision("port")
    board.storage.files.clear()
    second = bench.station(board).provision("port", again="returned for repair")
    assert second.device_id == first.device_id
    assert second.spki_sha256 != first.spki_sha256
    check_complete(board, bench.folder, authority.ca_der)


def asks_of_a_clean_run(tmp_path: Path, authority: CaAuthority) -> tuple[int, int]:
    clean = Bench(tmp_path / "clean", authority)
    board = FakeBoard()
    clean.station(board).provision("port")
    clean.close()
    return board.asked, board.storage.writes


@pytest.mark.parametrize("after", [False, True])
def test_the_station_dies_at_every_request(
    tmp_path: Path, authority: CaAuthority, after: bool
) -> None:
    asks, _ = asks_of_a_clean_run(tmp_path, authority)
    assert asks > 10
    for cut_at in range(1, asks + 1):
        bench = Bench(tmp_path / f"cut-{cut_at}", authority)
        board = FakeBoard(cut_ask=cut_at, cut_answer=after)
        with pytest.raises(Cut):
            bench.station(board).provision("port")
        board.cut_ask = 0
        done = bench.station(board).provision("port")
        assert done.device_id.startswith("weather-2647-000001-"), cut_at
        check_complete(board, bench.folder, authority.ca_der)
        bench.close()


@pytest.mark.parametrize("after", [False, True])
def test_the_board_loses_power_at_every_write(
    tmp_path: Path, authority: CaAuthority, after: bool
) -> None:
    _, writes = asks_of_a_clean_run(tmp_path, authority)
    assert writes >= 7
    for cut_at in range(1, writes + 1):
        bench = Bench(tmp_path / f"cut-{cut_at}", authority)
        board = FakeBoard()
        board.storage.cut_at, board.storage.cut_after = cut_at, after
        with pytest.raises(OutpostError) as caught:
            bench.station(board).provision("port")
        assert caught.value.exit_code == 4, cut_at
        done = bench.station(board).provision("port")
        assert done.resumed
        check_complete(board, bench.folder, authority.ca_der)
        bench.close()


class DyingJournal(Journal):
    """The station dies at its n-th commit, before or after it."""

    def __init__(self, path: Path, cut_at: int, after: bool) -> None:
        super().__init__(path)
        self.commits = 0
        self.cut_at = cut_at
        self.after = after

    def _transaction(self):  # type: ignore[no-untyped-def]
        self.commits += 1
        if self.commits != self.cut_at:
            return super()._transaction()
        if not self.after:
            raise Cut()
        return _then_die(super()._transaction())


class _then_die:  # noqa: N801
    def __init__(self, inner) -> None:  # type: ignore[no-untyped-def]
        self.inner = inner

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self.inner.__enter__()

    def __exit__(self, *details: object) -> None:
        self.inner.__exit__(*details)
        raise Cut()


@pytest.mark.parametrize("after", [False, True])
def test_the_station_dies_at_every_commit(
    tmp_path: Path, authority: CaAuthority, after: bool
) -> None:
    counting = Bench(tmp_path / "count", authority)
    station = counting.station(FakeBoard())
    counted = station.journal = DyingJournal(counting.folder / "other.db", 0, False)
    station.provision("port")
    assert counted.commits >= 14
    for cut_at in range(1, counted.commits + 1):
        bench = Bench(tmp_path / f"cut-{cut_at}", authority)
        board = FakeBoard()
        dying = bench.station(board)
        dying.journal.close()
        dying.journal = DyingJournal(bench.folder / "journal.db", cut_at, after)
        with pytest.raises(Cut):
            dying.provision("port")
        dying.journal.close()
        bench.station(board).provision("port")
        check_complete(board, bench.folder, authority.ca_der)
        bench.close()
    counted.close()
    counting.close()


def fails(bench: Bench, board: FakeBoard) -> OutpostError:
    with pytest.raises(OutpostError) as caught:
        bench.station(board).provision("port")
    return caught.value


def test_what_the_board_lacks(bench: Bench) -> None:
    assert fails(bench, FakeBoard(manifest=b"another release")).code == "not-flashed"
    assert fails(bench, FakeBoard(product="greenhouse")).code == "not-flashed"
    assert fails(bench, FakeBoard(tls_error="ValueError")).code == "self-test-tls"
    assert fails(bench, FakeBoard(heap_free=100)).code == "self-test-heap"
    assert fails(bench, FakeBoard(flash_error="OSError(5)")).code == "self-test-flash"
    error = fails(bench, FakeBoard(addresses=(0x77,)))
    assert error.code == "self-test-i2c" and "0x76" in error.message
    journal = Journal(bench.folder / "journal.db")
    unit = journal.find(FakeBoard.uid)
    assert unit is not None and (unit.state, unit.error) == ("WRITTEN", "self-test-i2c")
    assert [step["outcome"] for step in journal.steps(unit.uid)][-1] == "self-test-i2c"
    journal.close()
    bench.station(FakeBoard()).provision("port")  # repaired: the same unit goes on


def test_a_cloned_board_is_refused(bench: Bench) -> None:
    first = FakeBoard()
    bench.station(first).provision("port")
    clone = FakeBoard(uid="ffffffffffffffff")
    clone.storage.files = {"/data/id/key.next": first.storage.files["/data/id/key.der"]}
    error = fails(bench, clone)
    assert (error.code, error.exit_code) == ("key-cloned", 6)


def test_a_request_for_another_name_is_refused(bench: Bench) -> None:
    class Liar(FakeBoard):
        def _answer(self, script: str):  # type: ignore[no-untyped-def]
            return super()._answer(script.replace("weather-", "other-"))

    error = fails(bench, Liar())
    assert (error.code, error.exit_code) == ("csr", 5)


def test_a_write_that_does_not_stick(bench: Bench) -> None:
    class Forgetful(FakeBoard):
        def _answer(self, script: str):  # type: ignore[no-untyped-def]
            return True if "write_atomic" in script else super()._answer(script)

    assert fails(bench, Forgetful()).code == "read-back"


def test_units_of_two_boards_get_two_serials(bench: Bench) -> None:
    one = bench.station(FakeBoard()).provision("port")
    two = bench.station(FakeBoard(uid="0011223344556677")).provision("port")
    assert (one.device_id[:-2], two.device_id[:-2]) == (
        "weather-2647-000001",
        "weather-2647-000002",
    )


def test_no_secret_is_kept_by_the_station(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    board = FakeBoard()
    done = bench.station(board).provision("port")
    private = csr.private_of(board.storage.files["/data/id/key.der"])
    kept = b"".join(path.read_bytes() for path in bench.folder.iterdir())
    shown = repr(done) + repr(SETTINGS) + "".join(capsys.readouterr())
    settings_digest = hashlib.sha256(board.storage.files["/data/device.cbor"]).hexdigest()
    for secret in (private, private.hex().encode(), PASSWORD.encode(), settings_digest.encode()):
        assert secret not in kept
        assert secret.decode("latin-1") not in shown
