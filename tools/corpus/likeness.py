"""Which texts are variants of each other: descriptions of a library, of its documentation and of
its development files share most of their words."""

import math
from collections import Counter, defaultdict

from corpus.common import text_key

WORDS = 3  # in a row, that are compared
ALIKE = 0.5  # share of the runs of words that two texts have in common (Jaccard's coefficient)


def runs(text):
    """The set of the text's runs of words, numbers and case aside."""
    words = text_key(text).split()
    return {tuple(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}


def _telling(own, counts):
    """The rarest runs of a text, so many that each text which is like it has one of them."""
    shared = math.ceil(ALIKE * len(own))
    return sorted(own, key=lambda run: (counts[run], run))[: len(own) - shared + 1]


def with_a_like_text(candidates, groups):
    """The first sources of those groups among the candidates that have a source which is like one
    of another group. A group is a list of (source, target, kind)."""
    texts = [(group[0][0], runs(source)) for group in candidates for source, _, _ in group]
    counts = Counter(run for _, own in texts for run in own)
    places = defaultdict(list)
    for at, (_, own) in enumerate(texts):
        for run in _telling(own, counts):
            places[run].append(at)
    alike = set()
    for group in groups:
        for source, _, _ in group:
            other = runs(source)
            for at in {at for run in other for at in places.get(run, ())}:
                name, own = texts[at]
                if name == group[0][0] or name in alike:
                    continue
                if len(own & other) >= ALIKE * len(own | other):
                    alike.add(name)
    return alike
