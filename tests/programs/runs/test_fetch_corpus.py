#!/usr/bin/env python3
"""tools/fetch_corpus.py makes a corpus of a distribution's texts: from a small distribution that
is made here, so that nothing is fetched."""

import gzip
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import made_lists
import th_run

PARTS = ("train", "valid", "test")
FILES = sorted([f"{part}.{side}" for part in PARTS for side in ("source", "target")] + ["SOURCES"])
APT = all(map(shutil.which, ("apt-get", "apt-cache", "dpkg-deb", "dpkg")))


def key(text):
    """A text's words without case and numbers."""
    return re.sub(r"\d+", "0", " ".join(re.findall(r"\w+", text.lower())))


class FetchCorpus(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.made = made_lists.MadeLists()

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="th-program-test."))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)

    def fetch(self, *words, code=0, **variables):
        command = [sys.executable, "-B", str(th_run.SOURCE / "tools" / "fetch_corpus.py")]
        done = subprocess.run(
            [*command, *map(str, words)],
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def lists(self, **packing):
        self.made.write(self.folder / "lists", **packing)
        return self.folder / "lists"

    def read(self, name):
        """{part: [(source, target)]} of a corpus, whose files are checked against SOURCES."""
        folder = self.folder / name
        self.assertEqual(sorted(path.name for path in folder.iterdir()), FILES)
        sources = (folder / "SOURCES").read_text()
        told = {file: digest for digest, file in re.findall(r"^(\w{64})  (\S+)$", sources, re.M)}
        self.assertEqual(sorted(told), sorted(set(FILES) - {"SOURCES"}))
        for file, digest in told.items():
            data = (folder / file).read_bytes()
            self.assertEqual(hashlib.sha256(data).hexdigest(), digest, file)
        sides = {
            file: (folder / file).read_text(encoding="utf-8").split("\n")[:-1] for file in told
        }
        parts = {}
        for part in PARTS:
            source, target = sides[f"{part}.source"], sides[f"{part}.target"]
            self.assertEqual(len(source), len(target))
            self.assertIn(f"  {part}: {len(source)} lines, ", sources)
            parts[part] = list(zip(source, target))
        return parts

    def check_pairs(self, parts, expected):
        held = {pair for part in parts.values() for pair in part}
        self.assertEqual((sorted(expected - held)[:3], sorted(held - expected)[:3]), ([], []))

    def check_separation(self, parts):
        """No source and no target, whatever its case and numbers, stands in two parts or twice."""
        for side in (0, 1):
            keys = {part: {key(pair[side]) for pair in parts[part]} for part in PARTS}
            for part, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
                self.assertFalse(keys[part] & keys[other], f"{part} and {other}")
        sources = [source for part in PARTS for source, _ in parts[part]]
        self.assertEqual(len(sources), len(set(sources)))

    def test_parts_hold_every_aligned_text_once(self):
        self.fetch("en-it", "out", "--lists", self.lists())
        parts = self.read("out")
        self.check_pairs(parts, self.made.pairs)
        self.check_separation(parts)
        tenth = len(self.made.pairs) // 10
        for part in ("valid", "test"):
            self.assertLessEqual(abs(len(parts[part]) - tenth), 1)
        self.assertIn("the packages' own", (self.folder / "out/SOURCES").read_text())

    def test_what_is_held_out_is_no_variant_of_what_is_learnt(self):
        self.fetch("en-it", "out", "--lists", self.lists())
        parts = self.read("out")
        versions = {f"V{n} {' '.join(self.made.alike)}" for n in range(40)}
        self.assertLessEqual(versions, {source for source, _ in parts["train"]})
        train = [set(key(source).split()) for source, _ in parts["train"]]
        for source, _ in parts["valid"] + parts["test"]:
            own = set(key(source).split())
            like = [other for other in train if len(own & other) > len(own | other) / 2]
            self.assertEqual(like, [], source)

    def test_lists_are_told_and_give_the_same_bytes_however_packed(self):
        self.fetch("en-it", "plain", "--lists", self.lists())
        plain = th_run.tree(self.folder / "plain")
        for language in ("en", "it"):
            data = self.made.text(language).encode()
            line = f"list {hashlib.sha256(data).hexdigest()} {len(data)} mirror_dists_made_main"
            self.assertIn(line, plain["SOURCES"].decode())
        self.assertIn("dated Sun, 01 Nov 2026", plain["SOURCES"].decode())
        packings = [(".gz", gzip.compress), (".xz", lzma.compress)]
        if Path("/usr/lib/apt/apt-helper").exists():
            packings.append((".lz4", made_lists.lz4_frame))
        for ending, pack in packings:
            with self.subTest(ending):
                shutil.rmtree(self.folder / "lists")
                lists = self.lists(ending=ending, pack=pack)
                self.fetch("en-it", f"out{ending}", "--lists", lists)
                self.assertEqual(th_run.tree(self.folder / f"out{ending}"), plain)

    def test_a_folder_that_is_not_empty_is_left_alone_without_force(self):
        lists = self.lists()
        self.fetch("en-it", "out", "--lists", lists)
        first = th_run.tree(self.folder / "out")
        (self.folder / "out/train.source").write_text("mine\n")
        (self.folder / "out/notes").write_text("mine\n")
        refused = self.fetch("en-it", "out", "--lists", lists, code=2)
        self.assertIn("--force", refused.stderr)
        self.assertEqual((self.folder / "out/train.source").read_text(), "mine\n")
        self.fetch("en-it", "out", "--lists", lists, "--force")
        self.assertEqual(th_run.tree(self.folder / "out"), {**first, "notes": b"mine\n"})

    def test_synopsis_pairs_documents_with_their_line(self):
        self.fetch("synopsis", "out", "--lists", self.lists())
        parts = self.read("out")
        pairs = {pair for part in parts.values() for pair in part}
        self.assertFalse(sorted(set(self.made.documents.items()) - pairs)[:3])
        self.assertTrue(all(len(source.split()) >= 20 for source, _ in pairs))
        self.check_separation(parts)

    @unittest.skipUnless(APT, "apt and dpkg are not here")
    def test_catalogues_are_read_out_of_packages(self):
        messages, pairs = made_lists.messages()
        made_lists.package(self.folder, "wget", messages)
        lists = self.lists()
        name = "mirror_dists_made_main_i18n_Translation-zh%5fCN"
        (lists / name).write_text(self.made.text("zh_CN"))
        self.fetch("en-zh", "out", "--lists", lists, "--packages", self.folder / "debs")
        parts = self.read("out")
        held = {pair for part in parts.values() for pair in part}
        self.assertFalse(sorted(pairs - held)[:3])
        self.assertFalse([s for s, _ in held if re.search(r"\b(Bagode|figo|pimi|roba)\b", s)])
        self.check_separation(parts)
        deb = (self.folder / "debs/wget_1.0-2_all.deb").read_bytes()
        line = f"package {hashlib.sha256(deb).hexdigest()} wget 1.0-2\n"
        self.assertIn(line, (self.folder / "out/SOURCES").read_text())

    @unittest.skipUnless(APT, "apt and dpkg are not here")
    def test_apt_fetches_into_a_folder_of_its_own(self):
        messages, pairs = made_lists.messages()
        debs = [made_lists.package(self.folder, name, messages) for name in ("wget", "git")]
        configuration = made_lists.repository(self.folder, self.made, debs)
        done = self.fetch("en-zh", "out", APT_CONFIG=str(configuration))
        self.assertIn("not in this distribution: anjuta-common, ", done.stdout)
        self.assertIn("download of 2 packages", done.stdout)
        held = {pair for part in self.read("out").values() for pair in part}
        self.assertFalse(sorted(pairs - held)[:3])
        self.assertRegex((self.folder / "out/SOURCES").read_text(), r"package \w{64} git 1.0-2\n")
        self.assertFalse((self.folder / "hook").exists(), "a hook of the machine's apt ran")
        self.fetch("en-it", "italian", APT_CONFIG=str(configuration))
        parts = self.read("italian")
        self.check_pairs(parts, self.made.pairs)

    @unittest.skipUnless(APT, "apt and dpkg are not here")
    def test_without_a_network_one_line_says_so(self):
        source = "[trusted=yes] http://127.0.0.1:9/nothing made main"
        configuration = made_lists.apt_configuration(self.folder, source)
        done = self.fetch("en-it", "out", code=3, APT_CONFIG=str(configuration))
        self.assertRegex(done.stderr, r"\A.*error: apt-get update brought no .*127.0.0.1.*\n\Z")
        self.assertFalse((self.folder / "out").exists())

    def test_errors_are_one_line_with_their_code(self):
        lists = self.lists()
        (self.folder / "file").write_text("")
        (self.folder / "empty").mkdir()
        damaged = self.folder / "damaged"
        shutil.copytree(lists, damaged)
        (damaged / "mirror_dists_made_main_i18n_Translation-it").rename(
            damaged / "mirror_dists_made_main_i18n_Translation-it.gz"
        )
        for code, pattern, *words in (
            (2, "corpus, DIR", *()),
            (2, "en-xx", "en-xx", "out"),
            (2, "--foo", "en-it", "out", "--foo"),
            (2, "nowhere is not a folder", "en-it", "out", "--lists", "nowhere"),
            (2, "en-zh alone", "en-it", "out", "--packages", "empty"),
            (2, "needs --packages", "en-zh", "out", "--lists", "lists"),
            (2, "file is no folder", "en-it", "file/out", "--lists", "lists"),
            (2, "lists is not empty", "en-it", "lists", "--lists", "lists"),
            (3, "Translation-en is in", "en-it", "out", "--lists", "empty"),
            (3, "Translation-de is in", "en-de", "out", "--lists", "lists"),
            (3, "Translation-it.gz is damaged", "en-it", "out", "--lists", "damaged"),
        ):
            with self.subTest(words):
                done = self.fetch(*words, code=code)
                self.assertRegex(done.stderr, r"\Afetch_corpus: error: [^\n]*" + pattern)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertFalse((self.folder / "out").exists())
        done = self.fetch("en-it", "out", code=3, PATH=str(self.folder / "empty"))
        self.assertRegex(done.stderr, r"\Afetch_corpus: error: there is no apt-get here[^\n]*\n\Z")

    def test_help_is_the_use(self):
        self.assertIn("usage: tools/fetch_corpus.py en-it|en-fr", self.fetch("--help").stdout)


if __name__ == "__main__":
    unittest.main()
