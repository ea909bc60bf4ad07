"""Secrets in files: errors name the setting and the file; a file that changes is read again."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.errors import ConfigError
from consumer.config.secrets import callback_secrets, implausible, secret


def test_the_error_of_a_missing_file_names_key_and_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"shops\.alpha\.api_key_file: .*/none is missing: write the secret"):
        secret("shops.alpha.api_key_file", tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_the_error_of_an_empty_file_names_key_and_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"shops\.alpha\.api_key_file: .*/key is empty"):
        secret("shops.alpha.api_key_file", tmp_path / "key")


def rotate(path: Path, text: str) -> None:
    """Write the file, with a time of change that differs however fast the test runs."""
    before = path.stat().st_mtime_ns
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before + 1, before + 1))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old\n", encoding="utf-8")
    read = secret("key", path)
    rotate(path, "new\n")
    assert read() == "new"


def test_a_key_that_every_call_needs_is_looked_at_once_a_second(tmp_path: Path) -> None:
    path, now = tmp_path / "key", [5.0]
    path.write_text("old\n", encoding="utf-8")
    read = secret("key", path, look_every_seconds=1.0, monotonic=lambda: now[0])
    rotate(path, "new\n")
    assert read() == "old"
    now[0] += 1.0
    assert read() == "new"


def test_the_old_secret_holds_while_its_file_is_empty_or_missing_and_one_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("s3cr3t-1\n", encoding="utf-8")
    read = secret("shops.alpha.api_key_file", path)
    with capture_logs() as logged:
        rotate(path, "")
        assert [read(), read()] == ["s3cr3t-1"] * 2
        rotate(path, "s3cr3t-2")
        assert read() == "s3cr3t-2"
        path.unlink()
        assert [read(), read()] == ["s3cr3t-2"] * 2
    assert [line["event"] for line in logged] == ["secret_unreadable"] * 2, "one line each time that it begins"
    assert [line["key"] for line in logged] == ["shops.alpha.api_key_file"] * 2
    assert f"{path} is empty; the last secret is used" in logged[0]["what"]
    assert f"{path} is missing" in logged[1]["what"]
    assert "s3cr3t" not in str(logged)


@pytest.mark.parametrize("replace", [os.mkfifo, Path.mkdir, lambda path: path.write_bytes(b"n" * (64 * 1024 + 1))])
def test_the_old_secret_holds_while_its_file_is_none_or_is_huge(
    tmp_path: Path, replace: Callable[[Path], object]
) -> None:
    """Opening a named pipe without a writer would hang the thread, and a huge file would take memory."""
    path = tmp_path / "key"
    path.write_text("o" * 16, encoding="utf-8")
    readers = (secret("key", path), callback_secrets("key", path))
    path.unlink()
    replace(path)
    assert [read() for read in readers] == ["o" * 16, ("o" * 16,)]
    with pytest.raises(ConfigError, match=r"key: .*/key cannot be read \(it is no regular file of at most 64 KiB"):
        secret("key", path)


def test_the_secrets_of_callbacks_are_one_a_line_and_long_enough(tmp_path: Path) -> None:
    path, old, new = tmp_path / "key", "o" * 16, "n" * 16
    path.write_text(f"{old}\n", encoding="utf-8")
    read = callback_secrets("shops.alpha.oms.callback_secret_file", path)
    assert read() == (old,)
    rotate(path, f"\n {old} \n{new}")
    assert read() == (old, new)
    rotate(path, "")
    assert read() == (old, new), "the file is being replaced"
    for content, words in (
        ("n" * 15, "a secret of less than 16 characters"),
        (f"{old}\n{new[1:]}", "a secret of less than 16 characters"),
        (f"{old}\n{new}\n{'x' * 16}", "more than 2 secrets"),
        (f"{old}\0", "bytes that are not text"),
    ):
        rotate(path, content)
        with pytest.raises(ConfigError, match=rf"shops\.alpha\.oms\.callback_secret_file: .*/key holds {words}"):
            read()


def test_an_old_and_a_new_secret_that_were_joined_in_one_line_are_an_error(tmp_path: Path) -> None:
    """`echo NEW >> FILE` does this to a file without a line end. Neither secret would be right, and nobody would see
    why."""
    path, old, new = tmp_path / "key", "o" * 16, "n" * 16
    path.write_text(old, encoding="utf-8")
    read = callback_secrets("shops.alpha.oms.callback_secret_file", path)
    for joined in (f"{old}{new}\n", f"{new}{old}\n"):
        rotate(path, joined)
        with pytest.raises(ConfigError, match="holds the secret from before and more on one line; each secret needs"):
            read()
    rotate(path, f"{old}\n\n{new}\n")
    assert read() == (old, new)


def test_what_is_probably_wrong_with_a_file_of_callback_secrets_is_named_without_the_secret(tmp_path: Path) -> None:
    path, hexadecimal, uuid = tmp_path / "key", "0123456789abcdef" * 4, "123e4567-e89b-12d3-a456-426614174000"
    for content, words in (
        (f"{hexadecimal}\n{hexadecimal[::-1]}\n", ()),
        (f"{hexadecimal}\n\n{hexadecimal[::-1]}\n", ()),
        (f"{hexadecimal}{hexadecimal}\n", ("line 1 of", "has 128 characters, perhaps two secrets")),
        (f"{uuid}{uuid}\n", ("line 1 of", "holds two UUIDs")),
        (f"\n{uuid} {uuid[:8]}\n", ("line 2 of", "holds a space")),
        (hexadecimal, ("does not end with a line end", "printf '\\n%s\\n' NEW >> FILE")),
    ):
        path.write_text(content, encoding="utf-8")
        found = implausible(path)
        assert all(word in found[0] for word in words) if words else found == []
        assert not any(secret in one for one in found for secret in (hexadecimal, uuid))
