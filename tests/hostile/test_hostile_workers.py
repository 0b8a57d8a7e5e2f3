"""Hostile workers against the real broker and a real worker, in small; hostile.py does it in large."""

import unittest

import tools
import workers

SIZES = {"strange_beats": 4, "oversized": 20, "oversized_list": 200, "flood": 20000, "many_beats": 20000, "many_hosts": 2000,
         "junk_jobs": 8, "junk_orders": 4}  # MiB, or entries


class HostileWorkers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mill = cls.enterClassContext(tools.Mill())
        cls.mill.start_redis()
        cls.mill.start_broker("--lease", "3s")
        cls.mill.start_worker("--test-tasks", "--slots", "2")
        cls.mill.wait_for_workers()

    def tearDown(self):
        self.mill.good_job()


def add(attack):
    def test(self):
        attack(self.mill, SIZES.get(attack.__name__, 0))
    test.__doc__ = attack.__doc__
    setattr(HostileWorkers, f"test_{attack.__name__}", test)


for one in workers.ALL:
    if one is not workers.large_results:
        add(one)


if __name__ == "__main__":
    unittest.main()
