"""ReFrame's configuration of the Slurm that run_reframe_test.sh starts: two virtual nodes. A real
site has one of its own."""

import os

site_configuration = {
    "systems": [
        {
            "name": "sandbox",
            "descr": "two virtual nodes",
            "hostnames": [".*"],
            "modules_system": "nomod",
            "stagedir": os.path.join(os.environ["TH_REFRAME_DIR"], "stage"),
            "outputdir": os.path.join(os.environ["TH_REFRAME_DIR"], "output"),
            "partitions": [
                {
                    "name": "batch",
                    "scheduler": "squeue",
                    "launcher": "srun",
                    "environs": ["none"],
                    "max_jobs": 1,
                }
            ],
        }
    ],
    "environments": [{"name": "none", "cc": "", "cxx": "", "ftn": ""}],
}
