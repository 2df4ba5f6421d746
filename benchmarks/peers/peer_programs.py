"""Peers' programs from PyPI, and commands that must not fail."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT_S = 1800


def installed(variable, folder, program, *packages):
    """The program that the environment names, else the one of HERE/folder, a virtual environment
    that is made with these packages where it is missing."""
    if os.environ.get(variable):
        return os.environ[variable]
    bin_folder = HERE / folder / "bin"
    if not (bin_folder / program).exists():
        subprocess.run([sys.executable, "-m", "venv", bin_folder.parent], check=True)
        install = [bin_folder / "python", "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True)
    return str(bin_folder / program)


def output_of(command, threads=1, **options):
    """Standard output and error of a command on so many threads; ends this program where it
    fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=dict(os.environ, OMP_NUM_THREADS=str(threads)),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        **options,
    )
    if done.returncode != 0:
        sys.exit(f"{words[0]} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr
