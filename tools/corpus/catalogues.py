"""Pairs of text out of message catalogues (.mo, GNU gettext) in Debian's packages.

An installation in a container mostly lacks the catalogues, so they are read out of the packages.
"""

import html
import io
import re
import struct
import subprocess
import tarfile
import textwrap
from dataclasses import dataclass

from corpus.common import CorpusError, sha256
from corpus.descriptions import aligned

# Packages with many translated messages for their size; nearly all are the same for every
# processor.
PACKAGES = (
    "anjuta-common aptitude-common audacity-data binutils-common brasero-common darktable dpkg "
    "epiphany-browser-data evolution-common filezilla-common gcc-12-locales geany-common "
    "gedit-common gimp-data git glom gnome-control-center-data gnome-software-common "
    "gnucash-common gnumeric-common gnupg-l10n gtkpod-data hexchat-common iso-codes "
    "kdevelop-l10n krita-l10n libglib2.0-data libgtk-3-common libreoffice-l10n-zh-cn mc-data "
    "nautilus-data pidgin-data poedit-common rhythmbox-data synaptic tortoisehg vlc-l10n wget"
).split()

_CATALOGUE = re.compile(r"(?:.*/)?zh_CN(?:\.[\w-]+)?/LC_MESSAGES/[^/]+\.mo")
_LITTLE, _BIG = b"\xde\x12\x04\x95", b"\x95\x04\x12\xde"


@dataclass
class Package:
    name: str
    version: str
    sha256: str


def read_catalogue(data, place):
    """(message, translation) of a .mo file; of plural forms the last one, without contexts."""
    order = {_LITTLE: "<", _BIG: ">"}.get(data[:4])
    if order is None:
        raise CorpusError(f"{place} is no message catalogue")
    try:
        count, messages, translations = struct.unpack_from(f"{order}3I", data, 8)
        found = []
        for at in range(0, 8 * count, 8):
            sides = []
            for table in (messages, translations):
                length, start = struct.unpack_from(f"{order}2I", data, table + at)
                if start + length > len(data):
                    raise CorpusError(f"{place} ends within a message")
                sides.append(data[start : start + length])
            found.append(tuple(sides))
    except struct.error:
        raise CorpusError(f"{place} ends within its tables") from None
    header = dict(found).get(b"", b"").decode("ascii", "replace")
    charset = re.search(r"charset=([\w-]+)", header)
    return [_decoded(pair, charset.group(1) if charset else "utf-8") for pair in found if pair[0]]


def _decoded(pair, charset):
    message, translation = pair
    message = message.split(b"\4")[-1].split(b"\0")[-1]
    translation = translation.split(b"\0")[-1]
    try:
        return message.decode(charset), translation.decode(charset)
    except (UnicodeDecodeError, LookupError):
        return "", ""


_MARK_IN_TARGET = re.compile(r"\s*[(（]([_&~])[A-Za-z0-9][)）]")
_MARK = re.compile(r"(?<![\w&~])[_&~](?=[^\W_])")
_TAG = re.compile(
    r"</?(?:a|b|big|br|code|em|filename|font|h\d|html|i|item|li|link|note|ol|p|para|qt|small|span"
    r"|strong|title|tt|u|ul|warning|body|table|tr|td|interface|command|application|emphasis|nobr"
    r"|center|icode|shortcut|resource|pre|sub|sup)\b[^<>]*/?>",
    re.I,
)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d+|#x[0-9a-f]+);")


def clean(message, translation):
    """The pair without marks of access keys, tags and entities; None where the tags differ."""
    in_target = _MARK_IN_TARGET.search(translation)
    if in_target:
        translation = _MARK_IN_TARGET.sub("", translation, count=1)
        message = re.sub(rf"{in_target.group(1)}(?=[^\W_])", "", message, count=1)
    elif len(_MARK.findall(message)) == 1:
        message = _MARK.sub("", message)
        translation = _MARK.sub("", translation)
    if len(_TAG.findall(message)) != len(_TAG.findall(translation)):
        return None
    sides = [_TAG.sub(" ", side) for side in (message, translation)]
    return tuple(html.unescape(s) if _ENTITY.search(s) else s for s in sides)


def _message_blocks(text):
    """Blocks of lines, parted by empty ones; what all lines of a block are indented by is none."""
    lines = [line.rstrip() for line in text.split("\n")]
    found = "\n".join(lines).split("\n\n")
    return [textwrap.dedent(block).strip("\n").split("\n") for block in found if block.strip()]


def _pairs_of(data, place):
    for message, translation in read_catalogue(data, place):
        cleaned = clean(message, translation)
        if cleaned and all(cleaned):
            yield from aligned(*map(_message_blocks, cleaned))


def _unpack(path):
    """(fields of the package, its file tree as tar)."""
    results = []
    for words in (["-f", str(path), "Package", "Version"], ["--fsys-tarfile", str(path)]):
        done = subprocess.run(["dpkg-deb", *words], capture_output=True)
        if done.returncode:
            complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise CorpusError(f"{path.name}: {complaint[0] if complaint else 'dpkg-deb failed'}")
        results.append(done.stdout)
    fields = dict(re.findall(r"^(\w+): (\S+)$", results[0].decode(), re.M))
    return fields, results[1]


def catalogue_pairs(folder):
    """(Package, its pairs) of each package in the folder that has Chinese catalogues, by name."""
    for path in sorted(folder.glob("*.deb")):
        fields, tree = _unpack(path)
        pairs = []
        with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
            members = [one for one in archive if one.isfile() and _CATALOGUE.fullmatch(one.name)]
            for member in sorted(members, key=lambda one: one.name):
                data = archive.extractfile(member).read()
                pairs += _pairs_of(data, f"{path.name}: {member.name}")
        if pairs:
            version = fields.get("Version", "unknown")
            yield Package(
                fields.get("Package", path.stem), version, sha256(path.read_bytes())
            ), pairs
