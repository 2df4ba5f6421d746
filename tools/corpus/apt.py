"""The machine's apt, with lists, cache and state in a folder of its own."""

import contextlib
import os
import re
import shutil
import subprocess

from corpus.common import CorpusError

LIMIT_S = 1800

# Read after the machine's own configuration, which keeps its mirrors and its proxy. What others
# have asked apt to do at an update, or to fetch besides, is left out.
CONFIGURATION = """
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb-src;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi;
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear Acquire::IndexTargets::deb::CNF;
#clear Acquire::Languages;
Acquire::Languages "{languages}";
Acquire::GzipIndexes "false";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::State::extended_states "{folder}/extended_states";
Dir::Cache "{folder}/cache";
"""


class PrivateApt:
    """`folder` is empty and ours; apt's own user (_apt) has to be able to walk into it."""

    def __init__(self, folder, languages):
        self.folder, self.languages = folder, languages

    def update(self):
        """Fetches the lists of packages and gives their folder."""
        self._prepare()
        print("fetch_corpus: apt-get update, about 25 MB, into a folder of its own", flush=True)
        words = self._run(["update"], self.folder)
        for language in self.languages:
            if not list(self.lists.glob(f"*_i18n_Translation-{language.replace('_', '%5f')}")):
                raise CorpusError(
                    f"apt-get update brought no descriptions in '{language}': {self._why(words)}"
                )
        return self.lists

    def download(self, names):
        """Downloads those of the packages that there are, and gives the folder of the files."""
        target = self._make("packages")
        if os.geteuid() == 0:
            with contextlib.suppress(LookupError):
                shutil.chown(target, user="_apt")
        known = self._known(names)
        missing = sorted(set(names) - set(known))
        if missing:
            print(f"fetch_corpus: not in this distribution: {', '.join(missing)}")
        if not known:
            raise CorpusError("none of the packages with catalogues is in this distribution")
        print(f"fetch_corpus: apt-get download of {len(known)} packages, about 110 MB", flush=True)
        words = self._run(["download", *known], target)
        if len(list(target.glob("*.deb"))) != len(known):
            raise CorpusError(
                f"apt-get download brought {len(list(target.glob('*.deb')))} of {len(known)} "
                f"packages: {self._why(words)}"
            )
        return target

    @property
    def lists(self):
        return self.folder / "lists"

    def _prepare(self):
        for program in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(program) is None:
                raise CorpusError(
                    f"there is no {program} here; the text comes from Debian's packages, so make "
                    "the corpus on a Debian machine, or give a copy of its lists by --lists"
                )
        os.chmod(self.folder, 0o755)
        for name in ("lists/partial", "cache/archives/partial"):
            self._make(name)
        (self.folder / "status").touch()
        (self.folder / "extended_states").touch()
        (self.folder / "apt.conf").write_text(
            CONFIGURATION.format(folder=self.folder, languages=",".join(self.languages))
        )

    def _make(self, name):
        (self.folder / name).mkdir(parents=True, mode=0o755)
        return self.folder / name

    def _command(self, program, words):
        return [program, "-q", "-c", str(self.folder / "apt.conf"), *words]

    def _run(self, words, folder, program="apt-get"):
        """apt's words, also where it failed: what is missing afterwards is what counts."""
        try:
            done = subprocess.run(
                self._command(program, words),
                cwd=folder,
                env={**os.environ, "LC_ALL": "C", "LANGUAGE": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise CorpusError(f"{program} {words[0]} took more than {LIMIT_S} s") from None
        return done.stdout.decode("utf-8", "replace")

    def _known(self, names):
        words = self._run(["show", "--no-all-versions", *names], self.folder, "apt-cache")
        shown = set(re.findall(r"^Package: (\S+)$", words, re.M))
        return [name for name in names if name in shown]

    @staticmethod
    def _why(words):
        """The first complaint in apt's words."""
        lines = [one.strip() for one in words.splitlines()]
        for beginning in ("E: ", "W: ", "Err:"):
            found = [one for one in lines if one.startswith(beginning)]
            if found:
                return found[0]
        return "apt told no reason; are there sources in /etc/apt?"
