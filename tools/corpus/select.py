"""Which of the collected pairs are worth training on."""

import re
from collections import Counter

from corpus.common import CJK_CHARACTER, one_line, text_key

LONGEST_WORDS = 100
LONGEST_DOCUMENT_WORDS = 400
LONGEST_CHINESE = 250  # characters
RATIO = 3.0  # of the sides' lengths in characters
CHINESE_RATIO = (0.8, 12.0)  # English characters to Chinese ones

_LETTERS = re.compile(r"[^\W\d_]{2,}")
# printf's conversions, Python's, Qt's, and $NAME, ${NAME}, {NAME}: as many of each on both sides.
_PLACE = re.compile(
    r"%(?:\d+\$)?[-+#0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh|h|ll|l|L|z|j|t|q)?[a-zA-Z%]"
    r"|%\(\w+\)[a-zA-Z]|%L?\d{1,2}|%\{\w+\}|\$\{?\w+\}?|\{\w*\}|@\w+@"
)


def places(text):
    """The places that a program fills in, without their order."""
    return Counter(re.sub(r"\d+\$", "", found) for found in _PLACE.findall(text))


class Selection:
    """Counts pairs by their kind; `dropped` says how many were left out, and why."""

    def __init__(self, corpus):
        self.corpus = corpus
        self.collected = Counter()  # pairs by kind
        self.dropped = Counter()  # pairs by reason
        self._counts = {}  # source -> Counter of targets
        self._kinds = {}  # source -> kind

    def add(self, kind, pairs):
        for source, target in pairs:
            source, target = one_line(source), one_line(target)
            self.collected[kind] += 1
            reason = self._reason(source, target)
            if reason:
                self.dropped[reason] += 1
                continue
            self._counts.setdefault(source, Counter())[target] += 1
            self._kinds.setdefault(source, kind)

    def pairs(self):
        """(source, target, kind), one for each source, in order of the source."""
        for source in sorted(self._counts):
            targets = self._counts[source]
            yield source, min(targets, key=lambda one: (-targets[one], one)), self._kinds[source]

    def repeated(self):
        """(pairs that repeat one, pairs of a source that has a more frequent translation)."""
        again = sum(sum(targets.values()) - len(targets) for targets in self._counts.values())
        other = sum(len(targets) - 1 for targets in self._counts.values())
        return again, other

    def _reason(self, source, target):
        """Why a pair is of no use, or None."""
        if len(_LETTERS.findall(source)) < (2 if self.corpus == "en-zh" else 1):
            return "no words"
        if not _LETTERS.search(target):
            return "no words"
        if text_key(source) == text_key(target):
            return "not translated"
        if places(source) != places(target) and self.corpus != "synopsis":
            return "other placeholders"
        if self.corpus == "en-zh":
            return self._reason_of_chinese(source, target)
        longest = LONGEST_DOCUMENT_WORDS if self.corpus == "synopsis" else LONGEST_WORDS
        if max(len(source.split()), len(target.split())) > longest:
            return "too long"
        if self.corpus != "synopsis":
            lengths = sorted((len(source), len(target)))
            if lengths[1] > RATIO * max(lengths[0], 5):
                return "unlike lengths"
        return None

    @staticmethod
    def _reason_of_chinese(source, target):
        characters = len(CJK_CHARACTER.findall(target))
        if characters < 2:
            return "not translated"
        if len(source.split()) > LONGEST_WORDS or len(target) > LONGEST_CHINESE:
            return "too long"
        if not CHINESE_RATIO[0] <= len(source) / len(target) <= CHINESE_RATIO[1]:
            return "unlike lengths"
        return None
