"""Splits a corpus into training, validation and test part, and writes it with its SOURCES."""

import datetime
import os
from collections import Counter, defaultdict

from corpus.common import CorpusError, sha256, text_key
from corpus.likeness import with_a_like_text

HELD_OUT = 1500  # lines of validation and of test, each
SHARE = 10  # a kind of text gives at most one line in so many to each of the two
LARGEST_GROUP = 20  # a larger group of like texts is for training
CANDIDATES = 4  # lines looked at for one held-out line
LEAST = 30  # pairs; fewer are no corpus

PARTS = ("train", "valid", "test")
FILES = [*(f"{part}.{side}" for part in PARTS for side in ("source", "target")), "SOURCES"]


def groups_of(pairs):
    """Lists of pairs; texts of two groups differ in more than case, numbers and punctuation.

    Pairs whose sources or whose targets have one key (text_key) are of one group, and so are all
    that are joined by others.
    """
    leader = {}

    def find(key):
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    keys = [(("source", text_key(s)), ("target", text_key(t))) for s, t, _ in pairs]
    for source, target in keys:
        leader[find(target)] = find(source)
    groups = defaultdict(list)
    for (source, _), pair in zip(keys, pairs):
        groups[find(source)].append(pair)
    return list(groups.values())


def order(source):
    """Where a source text stands in the corpus: by its hash, whatever else is in there."""
    return sha256(source.encode())


def _room(pairs):
    """{kind: lines of it in the test part}, and as many in the validation part."""
    kinds = Counter(kind for _, _, kind in pairs)
    room = {kind: min(HELD_OUT, count // SHARE) for kind, count in kinds.items()}
    largest = max(kinds, key=lambda kind: (kinds[kind], kind))
    others = sum(room.values()) - room[largest]
    room[largest] = min(room[largest], HELD_OUT - others)
    return room


def _candidates(groups, room):
    """The groups, in order, from which lines are held out."""
    left = Counter({kind: 2 * CANDIDATES * lines for kind, lines in room.items()})
    for group in groups:
        kind = group[0][2]
        if len(group) <= LARGEST_GROUP and left[kind] > 0:
            left[kind] -= len(group)
            yield group


def split(selection):
    """{part: pairs in order}: groups by the smallest hash of their sources, the first ones for the
    test, then for validation, all others for training. Groups with a source that is much like one
    of another group are for training too: what is held out is no variant of what is learnt."""
    pairs = list(selection.pairs())
    if len(pairs) < LEAST:
        raise CorpusError(
            f"{len(pairs)} pairs are left of {sum(selection.collected.values())}; at least "
            f"{LEAST} are needed"
        )
    groups = groups_of(pairs)
    groups.sort(key=lambda one: min(order(source) for source, _, _ in one))
    room = _room(pairs)
    candidates = list(_candidates(groups, room))
    alike = with_a_like_text(candidates, groups)
    left = {part: Counter(room) for part in ("test", "valid")}
    chosen = {}
    for group in candidates:
        kind = group[0][2]
        part = next((one for one in left if left[one][kind] > 0), None)
        if part and group[0][0] not in alike:
            left[part][kind] -= len(group)
            chosen[group[0][0]] = part
    parts = {part: [] for part in PARTS}
    for group in groups:
        parts[chosen.get(group[0][0], "train")] += group
    for part, lines in parts.items():
        # Held-out lines stand kind by kind, so that each can be scored by itself.
        lines.sort(key=lambda one: ("" if part == "train" else one[2], order(one[0])))
    return parts


def _contents(parts):
    """{file name: bytes}."""
    return {
        f"{part}.{side}": "".join(f"{pair[at]}\n" for pair in pairs).encode()
        for part, pairs in parts.items()
        for at, side in enumerate(("source", "target"))
    }


def _lines_of(part, pairs):
    """A line of SOURCES: how many lines, words and characters a part has."""
    words = [sum(len(pair[at].split()) for pair in pairs) for at in (0, 1)]
    characters = [sum(len(pair[at]) for pair in pairs) for at in (0, 1)]
    kinds = Counter(kind for _, _, kind in pairs)
    told = "" if len(kinds) < 2 else "; in order: "
    if part == "train" and told:
        told = "; mixed: "
    told += ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) if told else ""
    return (
        f"  {part}: {len(pairs)} lines, {words[0]} + {words[1]} words, "
        f"{characters[0]} + {characters[1]} characters (source + target){told}"
    )


def sources_text(selection, parts, contents, origins):
    """The text of SOURCES; `origins` are the lists read and the packages read."""
    lists, packages = origins
    again, other = selection.repeated()
    collected = ", ".join(f"{n} of {kind}" for kind, n in sorted(selection.collected.items()))
    dropped = ", ".join(f"{n} {reason}" for reason, n in sorted(selection.dropped.items()))
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    lines = [
        f"corpus {selection.corpus}, made on {day} by tools/fetch_corpus.py",
        "",
        "Licences: the packages' own. Descriptions and messages belong to the authors and",
        "translators of the packages; what each allows stands in the package's copyright file",
        "(/usr/share/doc/PACKAGE/copyright). Nothing of it is part of th_app.",
        "",
        "Counts",
        f"  collected: pairs {collected}",
        f"  dropped: {dropped or 'none'}",
        f"  kept once: {again} repeated pairs, {other} rarer translations of a source",
        *(_lines_of(part, parts[part]) for part in PARTS),
        "",
        "Hashes of the files here (sha256sum -c SOURCES)",
        *(f"{sha256(contents[name])}  {name}" for name in sorted(contents)),
        "",
        "Lists of packages read (sha256 of their text, bytes, name)",
        *(f"  list {digest} {size} {name}" for name, digest, size in lists.files),
        *(f"  dated {date}: {name}" for name, date in lists.dates),
    ]
    if packages:
        lines += ["", "Packages whose catalogues were read (sha256 of the package, name, version)"]
        lines += [f"  package {one.sha256} {one.name} {one.version}" for one in packages]
    return "\n".join(lines) + "\n"


def write_corpus(folder, selection, parts, origins):
    """Writes the files, SOURCES last, each at once under its name; gives the text of SOURCES."""
    contents = _contents(parts)
    text = sources_text(selection, parts, contents, origins)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SOURCES").unlink(missing_ok=True)
    for name, data in [*contents.items(), ("SOURCES", text.encode())]:
        unfinished = folder / f".{name}.unfinished"
        unfinished.write_bytes(data)
        os.replace(unfinished, folder / name)
    return text
