#!/usr/bin/env python3
"""What `cmake --install` leaves stands alone: with the source's .deps and the build folder hidden
the installed programs train, translate, inspect and score, and installed decks and job scripts are
used."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import th_run

BUILD = th_run.BIN.parent
HIDE = """set -e
for folder in "$1" "$2"; do [ ! -e "$folder" ] || mount -t tmpfs tmpfs "$folder"; done
shift 2
set +e
exec "$@"
"""
PROGRAMS = ("th_app", "th_translate", "th_inspect", "th_corpus", "th_score", "th_report")


class Installed(th_run.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = Path(tempfile.mkdtemp(prefix="th-program-test."))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.prefix = folder / "prefix"
        subprocess.run(
            ["cmake", "--install", BUILD, "--prefix", cls.prefix],
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def alone(self, *words, **options):
        """Runs a command where neither .deps nor the build folder can be seen."""
        deps = (th_run.SOURCE / ".deps").resolve()
        return subprocess.run(
            [*th_run.mount_namespace(), "bash", "-c", HIDE, "bash", deps, BUILD, *map(str, words)],
            cwd=self.folder,
            env={"PATH": f"{self.prefix}/bin:/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
            check=False,
            **options,
        )

    def answer(self, *words, **options):
        done = self.alone(*words, **options)
        self.assertEqual(done.returncode, 0, f"{words}\n{done.stdout}{done.stderr}")
        return done.stdout

    def test_the_installed_programs_need_no_source_and_no_build(self):
        if not shutil.which("unshare") or self.alone("true").returncode != 0:
            self.skipTest("this machine gives no namespace of mounts to hide the folders")
        # Nothing is hidden in vain: the build's own program is not there.
        self.assertNotEqual(self.alone(th_run.BIN / "th_app", "--version").returncode, 0)
        for program in PROGRAMS:
            self.assertRegex(self.answer(program, "--version"), rf"^{program} \d+\.\d+\.\d+")
        share = self.prefix / "share" / "th_app"
        words = [
            word
            for word in self.overrides({"train__max_steps": 12, "run__output_dir": "out"})
            if not word.startswith("data.t")
        ]
        script = f'. {share}/run_env.sh && exec mpirun -np 2 th_app {share}/inputs/stage2.in "$@"'
        out = self.answer("bash", "-c", script, "bash", *words)
        self.assertRegex(out, r"(?m)^Done: 12 steps")
        if (self.prefix / "lib" / "th_app" / "libdnnl.so.3").exists():
            others = [word for word in words if not word.startswith("run.output_dir")]
            out = self.answer(
                *("th_app", f"{share}/inputs/stage2.in", *others),
                *("run.output_dir=of_onednn", "run.gemm=onednn"),
            )
            self.assertRegex(out, r" gemm=onednn-[0-9]")
        line = "12 May\n"
        self.assertEqual(self.answer("th_translate", "out", input=line).count("\n"), 1)
        self.assertRegex(self.answer("th_inspect", "info", "out"), r"(?m)^step +12$")
        self.assertIn(f"{self.prefix}/bin", (share / "jobs" / "job.sh").read_text())
        for page in ("README.md", "docs/deck.md"):
            self.assertTrue((self.prefix / "share" / "doc" / "th_app" / page).exists(), page)
        if shutil.which("help2man"):
            manual = (self.prefix / "share" / "man" / "man1" / "th_app.1").read_text()
            self.assertIn("--selfcheck", manual)

    def test_no_installed_file_names_a_folder_of_the_build_to_the_loader(self):
        if not shutil.which("readelf"):
            self.skipTest("readelf is not here")
        for program in PROGRAMS:
            dynamic = subprocess.run(
                ["readelf", "-d", self.prefix / "bin" / program],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            paths = [line for line in dynamic.splitlines() if "PATH" in line]
            self.assertNotIn(str(th_run.SOURCE), "\n".join(paths))
            self.assertNotIn(".deps", "\n".join(paths))


if __name__ == "__main__":
    th_run.main()
