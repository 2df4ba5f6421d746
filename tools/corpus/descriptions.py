"""Pairs of text out of packages' descriptions: paragraphs and their translations, or a whole
description and its synopsis."""

import re

from corpus.common import join_lines

SYNOPSIS_WORDS = 20  # a description shorter than this is no document to summarize

_ITEM = re.compile(r"\s*(?:[-*+•·o‣–—]|\d{1,2}[.)]|\(\d{1,2}\))\s+(?=\S)")


def segments(lines):
    """(kind, text) of one block's wrapped lines: "text", "item" of a list, or "verbatim".

    An item begins with a bullet or a number, which is left out, and goes on in lines that are
    indented deeper; other indented lines (commands, tables) stand for themselves.
    """
    found = []
    for line in lines:
        indented = line[:1].isspace()
        bullet = _ITEM.match(line)
        if bullet:
            found.append(("item", [line[bullet.end() :]]))
        elif indented and found and found[-1][0] == "item":
            found[-1][1].append(line)
        elif indented:
            found.append(("verbatim", [line]))
        elif found and found[-1][0] == "text":
            found[-1][1].append(line)
        else:
            found.append(("text", [line]))
    return [(kind, join_lines(parts)) for kind, parts in found]


_END_OF_ITEM = re.compile(r"[\s,;，；、]+$")
_FULL_STOP = re.compile(r"(?<![.。])[.。]$")


def same_end(source, target):
    """The two texts of a list's item: its comma or semicolon belongs to the list, and a full stop
    stands on both sides or on none."""
    sides = [_END_OF_ITEM.sub("", side) for side in (source, target)]
    if sum(bool(_FULL_STOP.search(side)) for side in sides) == 1:
        sides = [_FULL_STOP.sub("", side) for side in sides]
    return tuple(sides)


def aligned(source_blocks, target_blocks):
    """(source, target) of the segments of blocks that have the same structure on both sides."""
    if len(source_blocks) != len(target_blocks):
        return
    for source, target in zip(map(segments, source_blocks), map(segments, target_blocks)):
        if [kind for kind, _ in source] != [kind for kind, _ in target]:
            continue
        for (kind, text), (_, translation) in zip(source, target):
            if kind == "item":
                yield same_end(text, translation)
            elif kind == "text":
                yield text, translation


def blocks(description):
    """(synopsis, blocks of lines) of a Description field: blocks are parted by lines of a dot."""
    synopsis, *body = description.split("\n")
    found = [[]]
    for line in body:
        line = line[1:] if line.startswith(" ") else line
        if line.strip() in ("", "."):
            found.append([])
        else:
            found[-1].append(line)
    return join_lines([synopsis]), [lines for lines in found if lines]


def translation_pairs(lists):
    """(source, target) of every synopsis and paragraph that has a translation."""
    for key in sorted(lists.translated.keys() & lists.english.keys()):
        synopsis, body = blocks(lists.english[key])
        translated_synopsis, translated_body = blocks(lists.translated[key])
        yield synopsis, translated_synopsis
        yield from aligned(body, translated_body)


def synopsis_pairs(lists):
    """(description as one line, synopsis); lists' bullets and verbatim lines are left out."""
    for key in sorted(lists.english):
        synopsis, body = blocks(lists.english[key])
        kept = [text for lines in body for kind, text in segments(lines) if kind != "verbatim"]
        document = " ".join(kept)
        if len(document.split()) >= SYNOPSIS_WORDS:
            yield document, synopsis
