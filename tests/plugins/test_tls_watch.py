"""Files of TLS that change under a running process: good ones are taken up, bad ones never replace good ones."""

import logging
import time
from pathlib import Path

import pytest

from gputally.plugins import tls_watch
from gputally.plugins.tls import TlsFiles
from gputally.plugins.tls_expiry import Reminder, Validity
from gputally.plugins.tls_watch import BadCredentials, WatchedFiles

from ..certificates import Authority, make_authority

DAY_S = 86_400


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return make_authority(folder)


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> TlsFiles:
    made = TlsFiles(tmp_path / "ca.pem", tmp_path / "host.pem", tmp_path / "host.key")
    made.ca.write_bytes(authority.ca.read_bytes())
    put(authority, made)
    return made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_watch, "_TRY_AGAIN_S", 0.0)


def put(authority: Authority, files: TlsFiles, days: tuple[float, float] = (-1, 100)) -> None:
    certificate, key = authority.issue("host", days=days)
    certificate.replace(files.certificate)
    key.replace(files.key)


def test_a_renewed_pair_is_in_force_at_the_next_look(authority: Authority, files: TlsFiles) -> None:
    watched = WatchedFiles(files, "uplink")
    before = watched.current()
    assert watched.current() is before
    put(authority, files)
    after = watched.current()
    assert (after.certificate, after.key) == (files.certificate.read_bytes(), files.key.read_bytes())
    assert after.number == before.number + 1


def test_a_file_rewritten_in_the_same_instant_at_the_same_size_is_seen(
    authority: Authority, files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On kernels whose clock for files ticks every few milliseconds only; here it ticks once a second."""

    def coarse(path: Path) -> tuple[int, int, int, int]:
        tick_ns = path.stat().st_ctime_ns // 10**9 * 10**9
        return 1, path.stat().st_size, tick_ns, tick_ns

    monkeypatch.setattr(tls_watch, "stamp_of", coarse)
    pairs = [[path.read_bytes().ljust(2_000, b"\n") for path in authority.issue("host")] for _ in range(20)]
    watched = WatchedFiles(files, "uplink")
    for number, (certificate, key) in enumerate(pairs):
        files.certificate.write_bytes(certificate)
        files.key.write_bytes(key)
        assert watched.current().number == number


def test_between_the_two_files_of_a_renewal_the_former_pair_stays(authority: Authority, files: TlsFiles) -> None:
    watched = WatchedFiles(files, "uplink")
    before = watched.current()
    certificate, key = authority.issue("host")
    key.replace(files.key)
    assert watched.current() is before
    assert f"{files.key} is not the private key of {files.certificate}" in watched.trouble
    certificate.replace(files.certificate)
    assert watched.current().number == 1
    assert watched.trouble == ""


@pytest.mark.parametrize("spoilt", ["gone", "rubbish", "expired", "not yet valid"])
def test_bad_new_files_keep_the_old_in_force_and_are_said_once(
    authority: Authority, files: TlsFiles, spoilt: str, caplog: pytest.LogCaptureFixture
) -> None:
    watched = WatchedFiles(files, "intake")
    before = watched.current()
    match spoilt:
        case "gone":
            files.certificate.unlink()
        case "rubbish":
            files.certificate.write_text("rubbish")
        case "expired":
            put(authority, files, (-3, -1))
        case _:
            put(authority, files, (1, 3))
    for _ in range(3):
        assert watched.current() is before
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 1
    assert "intake" in said[0] and str(files.certificate) in said[0] and "stay in force" in said[0]


def test_an_expired_certificate_gives_way_to_any_other_even_a_bad_one(authority: Authority, files: TlsFiles) -> None:
    put(authority, files, (-3, -1))
    watched = WatchedFiles(files, "uplink")
    watched.current()
    put(authority, files, (-3, -2))
    assert watched.current().number == 1


def test_without_any_good_file_the_cause_is_told(files: TlsFiles) -> None:
    files.ca.write_text("rubbish")
    with pytest.raises(BadCredentials, match=r"uplink\.ca: .*ca\.pem holds no certificate"):
        WatchedFiles(files, "uplink").current()


def test_what_runs_out_is_known_with_its_day(authority: Authority, files: TlsFiles) -> None:
    put(authority, files, (-1, 20))
    watched = WatchedFiles(files, "uplink")
    watched.current()
    ca, certificate = watched.terms(warn_days=30)
    assert (certificate.validity, certificate.file) == (Validity.EXPIRES_SOON, str(files.certificate))
    assert abs(certificate.not_after_s - time.time() - 20 * DAY_S) < 600
    assert [term.validity for term in watched.terms(warn_days=10)] == [Validity.EXPIRES_SOON, Validity.VALID]
    assert ca.validity is Validity.EXPIRES_SOON  # the tests' authority lives for a day


def test_an_expired_authority_beside_a_good_one_is_no_worry(tmp_path: Path, files: TlsFiles) -> None:
    folder = tmp_path / "former"
    folder.mkdir()
    old, _ = make_authority(folder).issue("former", names=None, days=(-3, -1))
    files.ca.write_bytes(old.read_bytes() + files.ca.read_bytes())
    watched = WatchedFiles(files, "uplink")
    watched.current()
    assert watched.terms(0)[0].validity is Validity.VALID


def test_a_certificate_that_runs_out_is_said_once_a_day(
    authority: Authority, files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    put(authority, files, (-1, 20))
    watched, reminder = WatchedFiles(files, "uplink"), Reminder("uplink")
    watched.current()
    soon = watched.terms(30)[1:]
    for hours in range(49):
        reminder.look(soon, hours * 3600.0)
    assert len(caplog.records) == 3
    assert f"uplink.certificate: {files.certificate} expires on 20" in caplog.records[0].getMessage()
    reminder.look(watched.terms(1)[1:], 50 * 3600.0)
    assert len(caplog.records) == 3
