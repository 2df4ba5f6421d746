"""ReFrame's test of an installed th_app on a site's nodes: a run of many ranks trains, gives the
bits of one process, and its model translates.

    reframe -C SITE.py -c th_app.py -r
    reframe -C SITE.py -c th_app.py -r -S nodes=4 -S ranks_per_node=32      more of the machine
    reframe -C SITE.py -c th_app.py -r -S bin=/opt/th_app/bin -S share=/opt/th_app/share/th_app

It keeps the rate (tokens/s) in ReFrame's performance log, and has no reference for it: the site
gives one by -S or in a class of its own.
"""

import os

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import performance_function, run_before, sanity_function, variable


@rfm.simple_test
class ThAppTrains(rfm.RunOnlyRegressionTest):
    descr = "th_app trains on several nodes with the bits of one process, and translates"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    tags = {"th_app"}
    nodes = variable(int, value=2)
    ranks_per_node = variable(int, value=2)
    steps = variable(int, value=20)
    bin = variable(str, value="")  # the folder of the programs; empty: they are in PATH
    share = variable(str, value="/usr/share/th_app")  # the installed decks
    time_limit = "10m"

    def program(self, name):
        return os.path.join(self.bin, name) if self.bin else name

    @run_before("run")
    def set_up_the_run(self):
        self.num_tasks = self.nodes * self.ranks_per_node
        self.num_tasks_per_node = self.ranks_per_node
        deck = os.path.join(self.share, "inputs", "stage2.in")
        keys = [f"train.max_steps={self.steps}", "decode.max_length=20", "run.threads=1"]
        self.executable = self.program("th_app")
        self.executable_opts = [deck, *keys, "run.output_dir=ranks"]
        app, translate = self.program("th_app"), self.program("th_translate")
        losses = r"""grep -o '"kind":"step".*' %s/metrics.jsonl | grep -oE '"loss":[^,}]*'"""
        # One process, outside of the step that srun made, in the same allocation.
        alone = "env -u SLURM_NTASKS -u SLURM_NPROCS"
        self.postrun_cmds = [
            f"{alone} {app} {deck} {' '.join(keys)} run.output_dir=one >one.log",
            f"{losses % 'ranks'} >ranks.losses",
            f"{losses % 'one'} >one.losses",
            "cmp ranks.losses one.losses && echo losses alike: $(wc -l <one.losses)",
            f"echo '12 May' | {alone} {translate} ranks >translated",
            "echo lines translated: $(wc -l <translated)",
        ]

    @sanity_function
    def it_trained_alike_and_translates(self):
        ranks = self.num_tasks
        return sn.all(
            [
                sn.assert_found(rf"^ranks +{ranks}$", self.stdout, f"it had not {ranks} ranks"),
                sn.assert_found(rf"^nodes +{self.nodes}$", self.stdout, "it had other nodes"),
                sn.assert_found(rf"^Done: {self.steps} steps", self.stdout, "it did not end"),
                sn.assert_found(
                    rf"^losses alike: {self.steps}$", self.stdout, "not the bits of one process"
                ),
                sn.assert_found(r"^lines translated: 1$", self.stdout, "it does not translate"),
            ]
        )

    @performance_function("tokens/s")
    def rate(self):
        return sn.extractsingle(r"^Done: .* (\S+) tokens/s$", self.stdout, 1, float)
