"""Writes SentencePiece models (sentencepiece_model.proto) of given pieces, without the library."""

import struct

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE = 1, 2


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def piece(content, score, kind):
    return text(
        1, text(1, content) + varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, kind)
    )


def model(pieces, kind=UNIGRAM):
    """The bytes of a model: `pieces` are (text, score, type) in id order; normalization keeps every
    character and puts a blank before a line."""
    trainer = text(2, number(3, kind) + number(4, len(pieces)))
    normalizer = text(3, text(1, "identity"))
    return b"".join(piece(*one) for one in pieces) + trainer + normalizer


def word_pieces(words):
    """Pieces of whole words, each of which segments into itself."""
    return [("\u2581" + word, -1.0 - 0.01 * place, NORMAL) for place, word in enumerate(words)]
