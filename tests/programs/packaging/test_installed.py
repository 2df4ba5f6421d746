#!/usr/bin/env python3
"""What `cmake --install` leaves stands alone: with the source's .deps and the build folder hidden
the installed programs train, translate, inspect and score, and installed decks and job scripts are
used. Programs of others find the library that reads checkpoints."""

import json
import math
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


class Prefix(th_run.ProgramTest):
    """One installation for all tests of the class."""

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


class Installed(Prefix):
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


class Library(Prefix):
    """find_package(th), as a program of others uses it."""

    def compile(self, *words):
        done = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, timeout=600, check=False
        )
        self.assertEqual(done.returncode, 0, f"{words}\n{done.stdout}{done.stderr}")
        return done.stdout

    def test_a_program_of_others_reads_a_checkpoint(self):
        example = self.prefix / "share" / "th_app" / "examples" / "read_checkpoint"
        self.compile(
            *("cmake", "-S", example, "-B", "example", f"-DCMAKE_PREFIX_PATH={self.prefix}"),
            *("-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror", "-DCMAKE_BUILD_TYPE=Release"),
        )
        self.compile("cmake", "--build", "example")
        self.train(ranks=2, train__max_steps=6)
        lines = self.compile("example/read_checkpoint", "out").splitlines()
        self.assertEqual(lines[0], "step 6 of out/checkpoints/step_00000006, 2 ranks")
        shapes, sizes = {}, {}
        for name, shape, *kinds in (line.split() for line in lines[1:]):
            shapes[name] = [int(extent) for extent in shape.split("x")]
            for kind, size in (text.split("=") for text in kinds):
                sizes[name if kind == "parameters" else f"{kind}/{name}"] = float(size)
        listed = json.loads(self.program("th_inspect", "ls", "out", "--json").out)
        expected = {row["name"]: row["shape"] for row in listed if row["name"] in shapes}
        self.assertEqual(shapes, expected)
        self.assertEqual(set(sizes), {row["name"] for row in listed})
        stats = json.loads(self.program("th_inspect", "stat", "out", "--json").out)
        for name, stat in stats.items():
            size = math.hypot(stat["mean"], stat["deviation"])
            self.assertAlmostEqual(sizes[name], size, delta=1e-6 * size)  # seven digits are printed
        refused = subprocess.run(
            ["example/read_checkpoint", "none"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(refused.returncode, 5)
        self.assertIn("none", refused.stderr)

    def test_a_version_that_is_not_there_is_refused(self):
        own = self.program("th_inspect", "--version").out.split()[1].rpartition(".")[0]
        for version, code in ((own, 0), ("99.0", 1)):
            folder = self.folder / version
            folder.mkdir()
            (folder / "CMakeLists.txt").write_text(
                "cmake_minimum_required(VERSION 3.22)\nproject(find LANGUAGES CXX)\n"
                f"find_package(th {version} REQUIRED)\n"
            )
            done = subprocess.run(
                ["cmake", "-S", folder, "-B", folder, f"-DCMAKE_PREFIX_PATH={self.prefix}"],
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn("thConfig.cmake, version: ", done.stderr)

    def test_each_installed_header_stands_alone(self):
        include = self.prefix / "include"
        headers = sorted(path.relative_to(include) for path in include.rglob("*.hpp"))
        self.assertIn(Path("th/io/checkpoint/checkpoint_reader.hpp"), headers)
        for header in headers:
            (self.folder / "alone.cpp").write_text(f'#include "{header}"\n')
            self.compile("c++", "-std=c++20", "-fsyntax-only", "-I", include, "alone.cpp")

    def test_no_file_for_cmake_names_the_source_or_the_build(self):
        files = list((self.prefix / "lib" / "cmake" / "th").iterdir())
        self.assertGreaterEqual(len(files), 4)
        for file in files:
            self.assertNotIn(str(th_run.SOURCE), file.read_text(), file.name)


if __name__ == "__main__":
    th_run.main()
