#!/usr/bin/env python3
"""Nothing of a run has a name in /dev/shm, whatever ends it."""

import os
import time

import th_run


class SharedMemory(th_run.ProgramTest):
    def test_nothing_is_left_in_shared_memory(self):
        def ours():
            return {name for name in os.listdir("/dev/shm") if name.startswith("th_")}

        before = ours()
        process = self.start(ranks=2, train__epochs=500)
        self.wait_for_steps(process, 1)
        self.assertEqual(ours() - before, set(), "while the run goes on")
        process.kill()
        process.wait()
        time.sleep(0.2)
        self.assertEqual(ours() - before, set(), "after it was killed")


if __name__ == "__main__":
    th_run.main()
