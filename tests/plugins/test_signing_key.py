"""The file of a signing key: what can be used, what is refused, and that nobody else may read it."""

import subprocess
from pathlib import Path

import pytest

from gputally.model.key_ring import key_message
from gputally.plugins.ed25519 import check
from gputally.plugins.signing_key import (
    MOST_FORERUNNERS,
    BadSigningKey,
    load_key_file,
    make_key_file,
    write_key_file,
)

from ..certificates import make_authority


def written(path: Path, content: bytes, mode: int = 0o400) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_comes_back_with_its_forerunners(tmp_path: Path) -> None:
    file = make_key_file().succeeded().succeeded()
    write_key_file(tmp_path / "key", file, replace=False)
    again = load_key_file(tmp_path / "key")
    assert again.introductions == file.introductions and len(file.introductions) == 3
    assert again.secret.public_key == file.secret.public_key


def test_each_key_is_signed_by_the_one_before_it() -> None:
    first, second = make_key_file().succeeded().introductions
    assert check(first.public_key, key_message(first.public_key, b""), first.signature)
    assert check(first.public_key, key_message(second.public_key, first.key_id), second.signature)


def test_forerunners_are_bounded() -> None:
    file = make_key_file()
    for _ in range(MOST_FORERUNNERS + 5):
        file = file.succeeded()
    assert len(file.introductions) == MOST_FORERUNNERS
    assert file.introductions[-1].signed_by == file.introductions[-2].key_id


def test_a_key_that_openssl_made_is_a_first_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    try:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    path.chmod(0o400)
    assert [key.signed_by for key in load_key_file(path).introductions] == [b""]


@pytest.mark.parametrize("mode", [0o404, 0o420, 0o402, 0o644, 0o666])
def test_a_key_that_others_may_read_or_the_group_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", make_key_file().to_bytes(), mode)
    with pytest.raises(BadSigningKey, match=f"has mode {mode:04o}: others could sign for this host; chmod 0400"):
        load_key_file(path)


def test_what_is_no_key_is_refused_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    other = make_key_file().to_bytes()
    mixed = make_key_file().secret.to_pem() + other[other.index(b"-----BEGIN GPUTALLY") :]
    for content, words in (
        (b"", "holds no private key"),
        (b"secret words", "holds no private key"),
        (authority.encrypted(b"password"), "is encrypted"),
        (make_authority(tmp_path).issue("x")[1].read_bytes(), "is no Ed25519 key"),
        (mixed, "do not lead to the key"),
        (other.replace(b"SIGNING KEY-----\n", b"SIGNING KEY-----\nAAAA", 1), "is damaged"),
        (other + bytes(20_000), "more than"),
    ):
        with pytest.raises(BadSigningKey, match=words) as refused:
            load_key_file(written(tmp_path / "key", content, 0o600))
        assert "secret" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_file_is_refused_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(BadSigningKey, match="No such file or directory: make one with gputally log new-key"):
        load_key_file(tmp_path / "none")


def test_a_rotation_keeps_owner_and_mode(tmp_path: Path) -> None:
    path = written(tmp_path / "key", make_key_file().to_bytes(), 0o440)
    write_key_file(path, load_key_file(path).succeeded(), replace=True)
    assert path.stat().st_mode & 0o777 == 0o440
