#!/usr/bin/env python3
"""The Debian package: lintian finds no error in it, and in a bare Debian 12 without the source apt
installs it with what it depends on, its programs train, translate and inspect, another program is
built with its library, and apt removes it whole."""

import os
import shutil
import subprocess
from pathlib import Path

import th_run

BUILD = th_run.BIN.parent
FRESH = Path(os.environ.get("TH_FRESH", th_run.SOURCE.parent / "shared" / "fresh.sh"))
LIMIT_S = 3000
TRY = Path(__file__).with_name("try_deb.sh")


class DebianPackage(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("a bare Debian is made and entered by root alone")
        for tool in ("cpack", "dpkg-shlibdeps", "lintian", "debootstrap", "git"):
            if not shutil.which(tool):
                self.skipTest(f"{tool} is not here (tools/install_dependencies.sh --with-deb)")
        if not FRESH.exists():
            self.skipTest(f"no {FRESH}, which makes a bare Debian (TH_FRESH names another)")

    def run_to_end(self, *words, **options):
        done = subprocess.run(
            list(map(str, words)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
            **options,
        )
        self.assertEqual(done.returncode, 0, f"{words}\n{done.stdout[-6000:]}")
        return done.stdout

    def test_a_bare_debian_installs_it_trains_translates_and_removes_it(self):
        # The target `deb` does the same once the programs are built, as they are here.
        for earlier in (BUILD / "deb").glob("th-app_*.deb"):
            earlier.unlink()
        self.run_to_end("cpack", "--config", BUILD / "deb" / "CPackConfig.cmake", cwd=BUILD)
        (package,) = (BUILD / "deb").glob("th-app_*.deb")
        lintian = ("lintian", "--fail-on", "error", "--tag-display-limit", "0")
        found = self.run_to_end(*lintian, package)
        self.assertNotRegex(found, r"(?m)^E: ")
        # fresh.sh clones a repository into the bare Debian: this one has the package alone.
        place = self.folder / "package"
        place.mkdir()
        shutil.copy(package, place)
        shutil.copy(TRY, place)
        git = ("git", "-C", place, "-c", "user.name=test", "-c", "user.email=test@localhost")
        self.run_to_end(*git, "init", "-q")
        self.run_to_end(*git, "-c", "core.compression=0", "add", ".")
        self.run_to_end(*git, "commit", "-q", "-m", "The package")
        seen = self.run_to_end("bash", FRESH, place, "bash", TRY.name)
        print(seen)
        self.assertIn("try_deb: passed", seen)


if __name__ == "__main__":
    th_run.main()
