"""Lists of packages' descriptions as apt keeps them: records of `Package`, `Description-md5` and
`Description-LANGUAGE`, the English ones and their translations joined by the md5 sum of the English
text."""

import bz2
import gzip
import lzma
import re
import subprocess
from dataclasses import dataclass, field

from corpus.common import CorpusError, sha256

_PACKED = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
_BY_APT = {".lz4", ".zst"}
_APT_HELPER = "/usr/lib/apt/apt-helper"


@dataclass
class Lists:
    """`english` and `translated` are descriptions by md5 sum, `files` (name, sha256, bytes)."""

    english: dict = field(default_factory=dict)
    translated: dict = field(default_factory=dict)
    files: list = field(default_factory=list)
    dates: list = field(default_factory=list)


def _content(path):
    if path.suffix in _BY_APT:
        try:
            done = subprocess.run([_APT_HELPER, "cat-file", str(path)], capture_output=True)
        except FileNotFoundError:
            raise CorpusError(f"{path} needs {_APT_HELPER} to be read; unpack it first") from None
        if done.returncode:
            raise CorpusError(f"{path}: apt-helper cannot unpack it")
        return done.stdout
    data = path.read_bytes()
    try:
        return _PACKED[path.suffix](data) if path.suffix in _PACKED else data
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise CorpusError(f"{path} is damaged: {error}") from None


def _name(path):
    """The list's name without the mirror's way of packing: it decides the order of reading."""
    name = path.name
    return name[: -len(path.suffix)] if path.suffix in {*_PACKED, *_BY_APT} else name


def _records(text, language):
    field_of = re.compile(rf"^Description-{language}: ?(.*)\Z", re.M | re.S)
    for record in text.split("\n\n"):
        key = re.search(r"^Description-md5: (\S+)$", record, re.M)
        description = field_of.search(record)
        if key and description:
            yield key.group(1), description.group(1).strip("\n")


def read_lists(folder, language):
    """The descriptions in English and in the language that stand in apt's lists in the folder."""
    lists = Lists()
    wanted = {language: lists.translated, "en": lists.english}
    for code, found in sorted(wanted.items()):
        spelled = code.replace("_", "(?:_|%5f)")
        name_of = re.compile(rf".*_i18n_Translation-{spelled}")
        paths = [path for path in folder.iterdir() if name_of.fullmatch(_name(path))]
        if not paths:
            raise CorpusError(f"no list *_i18n_Translation-{code} is in {folder}")
        for path in sorted(paths, key=_name):
            data = _content(path)
            lists.files.append((_name(path), sha256(data), len(data)))
            for key, text in _records(data.decode("utf-8", "replace"), code):
                found.setdefault(key, text)
    for path in sorted(folder.glob("*Release")):
        date = re.search(r"^Date: (.+)$", path.read_text("utf-8", "replace"), re.M)
        if date:
            lists.dates.append((path.name, date.group(1)))
    return lists
