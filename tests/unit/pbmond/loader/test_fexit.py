"""What is said where programs cannot be attached to kernel functions."""

from __future__ import annotations

import errno
import os
from typing import cast

import pytest

from pbmond.loader import bpf, fexit
from pbmond.loader.btf import Btf


class OneFunction:
    """A kernel's BTF that knows every function by one id."""

    def function(self, _name: str) -> int:
        return 7


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (524, "not supported on this machine yet (arm64: since Linux 6.4)"),
        (errno.EBUSY, "Device or resource busy"),
    ],
)
def test_a_kernel_that_attaches_no_function_is_quoted_in_words(
    number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_kind: int, _code: bytes, _name: str, *, function: int) -> bpf.Loaded:
        assert function == 7
        return bpf.Loaded(os.open(os.devnull, os.O_RDONLY), 2)

    def refuse(_program: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(bpf, "load_program", load)
    monkeypatch.setattr(bpf, "open_function", refuse)
    said = fexit.refusal(cast("Btf", OneFunction()))
    assert said == f"the kernel does not attach them: {words}"
