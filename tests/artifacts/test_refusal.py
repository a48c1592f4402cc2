from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lineart.artifacts.refusal import refusal
from lineart.storage.errors import Conflict, InvalidInput, StoreUnavailable

CASES = [
    (errno.ENOSPC, Conflict, "full .* free some space"),
    (errno.EDQUOT, Conflict, "full .* free some space"),
    (errno.EROFS, InvalidInput, "can only be read; choose another folder"),
    (errno.EACCES, InvalidInput, "may not be written .* choose another folder"),
    (errno.ENOENT, InvalidInput, "cannot be made a folder in .* choose another"),
    (errno.EIO, Conflict, "cannot be written .* choose another folder or try again"),
]


@pytest.mark.parametrize(("number", "kind", "text"), CASES)
def test_what_a_disk_refuses_is_told_with_the_destination_and_the_way_out(tmp_path, number, kind, text):
    root = tmp_path / "out"
    error = OSError(number, os.strerror(number), "out/.lineart-temporary")
    told = refusal(root, error)
    assert type(told) is kind
    assert str(root) in str(told)
    assert ".lineart-temporary" not in str(told)
    assert str(told).endswith("nothing there is left half-written")
    with pytest.raises(kind, match=text):
        raise told


def test_what_vanishes_within_the_destination_is_another_matter():
    told = refusal(Path("out"), OSError(errno.ENOENT, "No such file"), "a/b")
    assert isinstance(told, Conflict)
    assert "out/a/b vanished" in str(told)


def test_an_error_that_has_been_told_already_stays():
    error = StoreUnavailable("the bucket is away")
    assert refusal(Path("out"), error) is error
