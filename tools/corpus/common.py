"""Errors with their exit codes, and what it takes to compare texts."""

import hashlib
import re
import unicodedata


class CorpusError(Exception):
    """Nothing could be fetched, or nothing was found in it."""

    code = 3


class UsageError(CorpusError):
    """The command line cannot be followed."""

    code = 2


_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\u200b\u200e\u200f\u2060\ufeff\ufffe\uffff]")


def one_line(text):
    """The text in normal form C, white space (line ends too) made single spaces."""
    return " ".join(_CONTROL.sub("", unicodedata.normalize("NFC", text)).split())


_DIGITS = re.compile(r"\d+")
_NO_WORD = re.compile(r"[\W_]+")


def text_key(text):
    """What two texts share that differ in case, numbers, spaces or punctuation alone."""
    return _NO_WORD.sub(" ", _DIGITS.sub("0", text.casefold())).strip()


_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WIDE = f"{_CJK}\u3000-\u303f\uff00-\uffef"
CJK_CHARACTER = re.compile(f"[{_CJK}]")
_BROKEN_LINE = re.compile(f"(?<=[{_WIDE}]) (?=[{_WIDE}])")


def join_lines(lines):
    """Lines that were wrapped, as one: Chinese text takes no space where a line was broken."""
    return _BROKEN_LINE.sub("", one_line(" ".join(lines)))


def sha256(data):
    return hashlib.sha256(data).hexdigest()
