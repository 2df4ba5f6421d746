#!/usr/bin/env python3
"""Where MPI gives no shared-memory window a run goes over messages: the same bits, the memory that
its plan says, and one warning."""

import re

import th_run


@th_run.open_mpi_alone
class Windows(th_run.ProgramTest):
    def test_sites_whose_mpi_has_no_windows_get_the_same_bits(self):
        self.train(train__max_steps=4, run__output_dir="whole")
        for component, ranks, stage in (("ucx", 3, 3), ("^sm", 2, 1), ("rdma", 1, 0)):
            self.environment["OMPI_MCA_osc"] = component
            result = self.train(
                ranks=ranks, zero__stage=stage, train__max_steps=4, run__output_dir="out"
            )
            self.assert_one_message(result, "warning: ranks of a node can't share memory")
            reason = rf"failed: .*; OMPI_MCA_osc is {re.escape(component)}, and windows are those"
            self.assertRegex(
                result.out,
                r"(?m)^backend +MPI messages alone \(no shared-memory window: "
                rf"MPI_Win_allocate_shared {reason} of sm\)$",
            )
            self.assert_same_run("out", "whole")
            summary = self.metrics(kind="summary")[-1]
            for planned, measured in zip(summary["planned_bytes"], summary["measured_bytes"]):
                # A window counts whatever its size, other memory from 16 KiB on: of this small
                # model some shards are below that.
                share = int(measured) / int(planned)
                self.assertTrue(0.85 < share < 1.02, f"{component}: {share}")

    def test_a_run_goes_on_with_windows(self):
        self.train(train__max_steps=6, run__output_dir="whole")
        self.environment["OMPI_MCA_osc"] = "ucx"
        self.train(ranks=2, zero__stage=2, train__max_steps=3)
        del self.environment["OMPI_MCA_osc"]
        result = self.train(ranks=3, zero__stage=2, train__max_steps=6, checkpoint__resume="latest")
        self.assertNotIn("can't share memory", result.out)
        self.assert_same_run("out", "whole")


if __name__ == "__main__":
    th_run.main()
