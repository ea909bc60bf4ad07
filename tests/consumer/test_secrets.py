"""Secrets in files: errors name the setting and the file; a file that changes is read again."""

import os
from pathlib import Path

import pytest

from adapters.errors import ConfigError
from consumer.secrets import callback_secrets, secret


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


def test_the_old_secret_holds_while_its_file_is_empty_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old\n", encoding="utf-8")
    read = secret("key", path)
    rotate(path, "")
    assert read() == "old"
    path.unlink()
    assert read() == "old"


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
