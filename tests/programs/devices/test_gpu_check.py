"""tools/gpu_check.sh over the build folder and over the package of `ninja package`: it runs to its
end on any machine, says what was skipped and why, and the package carries what it needs where
neither MPI nor HDF5 is installed."""

import os
import re
import shutil
import subprocess
import unittest

import th_run

BUILD = th_run.BIN.parent
CHECK = th_run.SOURCE / "tools" / "gpu_check.sh"
# For the benchmark on the CPU: here it only has to run.
SMALL = "model.d_model=32 model.num_heads=2 model.d_ff=64 data.vocab_size=200 data.batch_size=4"
# What a machine with a GPU and PyTorch need not have; a namespace of mounts hides them.
HIDDEN = (
    "libmpi",
    "libopen-",
    "libhdf5",
    "libsentencepiece",
    "libboost_",
    "libspdlog",
    "libfmt",
    "libhwloc",
    "libpmix",
    "libevent",
    "libsz",
    "libaec",
    "libcurl",
)


def cached(key):
    found = re.search(rf"^{key}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found.group(1) if found else ""


def hiding_script():
    """Shell lines that hide the libraries and Open MPI's own folders, for a shell in a namespace of
    its own."""
    folders = sorted(
        {
            os.path.realpath(path)
            for path in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib")
            if os.path.isdir(path)
        }
    )
    files = [
        os.path.join(folder, name)
        for folder in folders
        for name in os.listdir(folder)
        if name.startswith(HIDDEN) and os.path.isfile(os.path.join(folder, name))
    ]
    lines = [
        f"mount --bind /dev/null {path}"
        for path in sorted({os.path.realpath(path) for path in files})
    ]
    own = (
        "/usr/lib/x86_64-linux-gnu/openmpi",
        "/usr/lib/x86_64-linux-gnu/pmix2",
        "/usr/lib/x86_64-linux-gnu/hdf5",
        "/usr/share/openmpi",
        "/etc/openmpi",
    )
    return "\n".join(lines + [f"mount -t tmpfs none {path}" for path in own if os.path.isdir(path)])


class GpuCheck(th_run.ProgramTest):
    def check(self, *arguments, code=0, environment=None, prefix=()):
        command = [*prefix, "bash", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**(environment or self.environment), "TH_CHECK_KEYS": SMALL},
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
        )
        result = th_run.Result(command, done.returncode, done.stdout, done.stderr)
        self.assertEqual(done.returncode, code, str(result))
        return result

    def assert_whole_report(self, result, report):
        text = (self.folder / report).read_text()
        self.assertEqual(text, result.out, "the report is what the terminal showed")
        for part in (
            "machine",
            "programs",
            "tests of label gpu",
            "stages, bit by bit",
            "compute-sanitizer",
            "benchmark",
            "PyTorch on the same GPU, 128 sentences",
            "summary",
        ):
            self.assertIn(f"== {part} ==", text)
        self.assertRegex(text, r"passed   cpu, 2 ranks, stage 2, 2\+2 layers: [0-9.]+ tokens/s")
        for line in text.splitlines():
            if line.startswith("skipped"):
                self.assertRegex(
                    line, r"^skipped  .*(: | is not here|, see above)", "a skip names its reason"
                )
        passed, skipped, failed = map(
            int,
            re.search(r"^(\d+) passed, (\d+) skipped, (\d+) failed", text, re.MULTILINE).groups(),
        )
        for count, word in ((passed, "passed"), (skipped, "skipped"), (failed, "FAILED")):
            self.assertEqual(len(re.findall(rf"^{word} ", text, re.MULTILINE)), count, word)
        self.assertEqual(failed, 0)
        return text

    def test_a_build_folder_is_checked_to_the_end(self):
        result = self.check(CHECK, BUILD, "report.txt")
        text = self.assert_whole_report(result, "report.txt")
        for line in (BUILD / "gpu_tests.txt").read_text().splitlines():
            self.assertIn(line.split()[0], text)

    def stand_in(self, devices, error=""):
        """A build folder whose th_app answers as on a machine with these devices, writes the
        figures of each run that it is asked for, and says the error in place of one on a GPU."""
        folder = self.folder / "stand_in"
        (folder / "bin").mkdir(parents=True)
        (folder / "inputs").mkdir()
        (folder / "gpu_tests.txt").write_text("")
        (folder / "inputs" / "benchmark.in").write_text("")
        rows = "".join(
            f"    {stage}  {kind}  1.5  2.5  00ff  same\\n"
            for stage in range(4)
            for kind in ("none", "selective", "full", "sqrt")
        )
        app = folder / "bin" / "th_app"
        app.write_text(f"""#!/bin/bash
if [ "$1" = --version ]; then printf 'th_app 0\\nDevices: {devices}\\n'; exit; fi
echo "$*" >>"{folder}/asked"
if [[ "$*" = *run.device=cuda* ]] && [ -n "{error}" ]; then echo "error: {error}"; exit 7; fi
if [[ "$*" = *--selfcheck* ]]; then
  [ "${{OMPI_COMM_WORLD_RANK:-0}}" != 0 ] || printf '{rows}'
  exit
fi
mkdir -p out
echo '{{"tokens_per_second":1234.5}}' >out/metrics.jsonl
if [[ "$*" = *profile.enabled=true* ]]; then
  echo '{{}}' >out/trace.json
  echo "Trace of steps 8 to 10, 1 rank: 50.0 % of it beside compute"
fi
""")
        app.chmod(0o755)
        return folder

    def test_with_a_gpu_a_build_that_can_is_timed_on_it(self):
        folder = self.stand_in("cpu\\n  cuda:0 NVIDIA H200")
        text = self.check(CHECK, folder, "report.txt").out
        self.assertEqual(text, (self.folder / "report.txt").read_text())
        timed = re.findall(r"(?m)^passed   (cuda, .*): 1234.5 tokens/s$", text)
        self.assertEqual(len(timed), 9, text)
        for name in ("stage0", "stage3_offload"):
            self.assertEqual((self.folder / f"report_trace_{name}.json").read_text(), "{}\n")
        self.assertEqual(text.count("Trace of steps 8 to 10"), 2)
        self.assertIn(
            "bf16: 1 rank over NCCL, 1, 2 and 4 ranks over MPI, stages 0 to 3: the same bits "
            "(1.5 2.5 00ff)",
            text,
        )
        asked = [
            line.split()
            for line in (folder / "asked").read_text().splitlines()
            if "run.device=cuda" in line and "--selfcheck" not in line
        ]
        self.assertEqual(len(asked), 1 + 13, "one to see that it can, then a run a rank")
        self.assertTrue(any("zero.offload_parameters=true" in words for words in asked))

    def test_with_a_gpu_a_libtorch_without_cuda_is_said(self):
        needs = "run.device=cuda needs LibTorch 2 with CUDA: libtorch_cuda.so is not here"
        folder = self.stand_in("cpu\\n  cuda:0 NVIDIA H200", needs)
        text = self.check(CHECK, folder, "report.txt").out
        self.assertIn(f"skipped  cuda: {needs}", text)
        self.assertIn(f"skipped  stage equality on the GPU: {needs}", text)

    def test_a_folder_without_programs_is_refused(self):
        result = self.check(CHECK, self.folder, code=2)
        self.assert_one_message(result, "is no build folder and no package")

    def test_the_package_runs_where_neither_mpi_nor_hdf5_is_installed(self):
        for tool in ("patchelf", "ompi_info"):
            if not shutil.which(tool):
                self.skipTest(f"{tool} is not here")
        self.check(th_run.SOURCE / "tools" / "make_package.sh", BUILD)
        package = self.folder / "elsewhere" / "th_app_gpu"
        package.parent.mkdir()
        subprocess.run(
            ["tar", "-C", package.parent, "-xzf", BUILD / "th_app_gpu.tar.gz"], check=True
        )
        size = sum(path.lstat().st_size for path in package.rglob("*"))
        self.assertLess(size, 63 << 20, "without LibTorch, for a machine that takes 64 MiB")
        bare = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "TH_LIBTORCH": cached("TH_LIBTORCH"),
            "LD_LIBRARY_PATH": os.path.dirname(cached("TH_NCCL_LIBRARY")),
        }
        hide = f'set -e\n{hiding_script()}\nset +e\nexec "$@"'
        namespace = th_run.mount_namespace()
        if (
            subprocess.run(
                [*namespace, "bash", "-c", hide, "bash", "true"], capture_output=True, check=False
            ).returncode
            != 0
        ):
            self.skipTest(
                "this machine gives no namespace of mounts to hide the installed libraries"
            )
        # Nothing is hidden in vain: the build's own program does not start there.
        self.assertNotEqual(
            subprocess.run(
                [*namespace, "bash", "-c", hide, "bash", th_run.BIN / "th_app", "--version"],
                env=bare,
                capture_output=True,
                check=False,
            ).returncode,
            0,
        )
        result = self.check(
            "-c",
            hide,
            "bash",
            "bash",
            package / "gpu_check.sh",
            package,
            "report.txt",
            environment=bare,
            prefix=namespace,
        )
        text = self.assert_whole_report(result, "report.txt")
        self.assertIn("package of ", text)
        self.assertIn("LibTorch 2.", text)


if __name__ == "__main__":
    if not (BUILD / "gpu_tests.txt").exists():
        print("skipped: this build has no CUDA plugin (TH_WITH_CUDA)")
        raise SystemExit(th_run.SKIP)
    th_run.main()
