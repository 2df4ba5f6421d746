#!/usr/bin/env python3
"""Makes a corpus of real text from the distribution that the machine runs.

usage: tools/fetch_corpus.py en-it|en-fr|en-de|en-zh|synopsis DIR [--force]
                             [--lists LISTS] [--packages PACKAGES]

  en-it, en-fr, en-de  English and translated descriptions of packages, paragraph by paragraph
  en-zh                the same, and the messages of programs (catalogues out of some 40 packages,
                       110 MB to download)
  synopsis             descriptions of at least 20 words, and their synopsis of one line
  DIR                  gets {train,valid,test}.{source,target}, one sentence or paragraph a line,
                       and SOURCES: where the text is from, counts, hashes, licences
  --force              writes into a DIR that is not empty; replaces the files named above alone
  --lists LISTS        reads the lists of packages in this folder (as in /var/lib/apt/lists) in
                       place of fetching them; nothing is downloaded
  --packages PACKAGES  for en-zh: takes the .deb files of this folder in place of downloading

Fetches with the machine's own apt (its mirrors, its proxy, its signatures), into a folder of its
own: the machine's lists and packages stay as they are, and no right beyond a user's is needed.
Equal lists and packages give equal files. Repeated pairs are kept once, a source with several
translations keeps the most frequent one, and no source or target text stands in two of the parts.
The text belongs to the authors of the packages, under their licences: see SOURCES.

Exit code 0: written, 2: wrong use, 3: no apt, no network, or nothing found.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from corpus.apt import PrivateApt
from corpus.catalogues import PACKAGES, catalogue_pairs
from corpus.common import CorpusError, UsageError
from corpus.descriptions import synopsis_pairs, translation_pairs
from corpus.lists import read_lists
from corpus.parts import FILES, split, write_corpus
from corpus.select import Selection

LANGUAGES = {"en-it": "it", "en-fr": "fr", "en-de": "de", "en-zh": "zh_CN", "synopsis": "en"}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message}; --help tells the use")


def arguments(words):
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("corpus", choices=LANGUAGES)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--lists", type=Path)
    parser.add_argument("--packages", type=Path)
    given = parser.parse_args(words)
    if given.packages and given.corpus != "en-zh":
        raise UsageError(f"--packages goes with en-zh alone, not with {given.corpus}")
    if given.lists and given.corpus == "en-zh" and not given.packages:
        raise UsageError("en-zh with --lists needs --packages too: nothing is downloaded")
    for name in ("lists", "packages"):
        folder = getattr(given, name)
        if folder and not folder.is_dir():
            raise UsageError(f"--{name} {folder} is not a folder")
    check_folder(given.folder, given.force)
    return given


def check_folder(folder, force):
    """The folder, or the one that it will be made in, can be written, and holds nothing yet."""
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.exists(one))
    if not os.path.isdir(there) or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be written: {there} is no folder to write into")
    if there == folder and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is not empty; --force replaces {', '.join(FILES)} in it")


def make(given, scratch):
    """Collects, selects and writes; `scratch` is a folder for what is fetched."""
    language = LANGUAGES[given.corpus]
    apt = PrivateApt(scratch, ["en"] if language == "en" else ["en", language])
    lists = given.lists or apt.update()
    selection = Selection(given.corpus)
    descriptions = read_lists(lists, language)
    if given.corpus == "synopsis":
        selection.add("descriptions", synopsis_pairs(descriptions))
    else:
        selection.add("descriptions", translation_pairs(descriptions))
    packages = []
    if given.corpus == "en-zh":
        folder = given.packages or apt.download(PACKAGES)
        for package, pairs in catalogue_pairs(folder):
            packages.append(package)
            selection.add("messages", pairs)
        if not packages:
            raise CorpusError(f"no package in {folder} has a catalogue of Chinese messages")
    parts = split(selection)
    text = write_corpus(given.folder, selection, parts, (descriptions, packages))
    print(text, end="")


def main(words):
    if {"-h", "--help"} & set(words):
        print(__doc__.strip())
        return 0
    try:
        given = arguments(words)
        with tempfile.TemporaryDirectory(prefix="fetch_corpus.") as scratch:
            make(given, Path(scratch))
    except CorpusError as error:
        print(f"fetch_corpus: error: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"fetch_corpus: error: {error}", file=sys.stderr)
        return CorpusError.code
    except KeyboardInterrupt:
        print("fetch_corpus: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
