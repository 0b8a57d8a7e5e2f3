"""Hostile clients against the real broker, in small; hostile.py does it in large."""

import unittest

import clients
import tools
import workers

SIZES = {"garbage": 200, "header_floods": 100, "refused_items": 8, "large_results": 256, "never_reading": 24, "waiters_of_one": 400, "resets": 1000,
         "vanishing_waiters": 1000, "half_open": 500, "slowloris_head": 100, "idle": 10000}
TOO_SLOW = [clients.slowloris_body, clients.vanished]


class HostileClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mill = cls.enterClassContext(tools.TcpMill())
        cls.mill.start_redis()
        cls.mill.start_broker()
        cls.mill.start_worker("--test-tasks", "--slots", "2")
        cls.mill.wait_for_workers()

    def tearDown(self):
        self.mill.good_job()


class FewFiles(unittest.TestCase):
    def test_few_files(self):
        clients.few_files()


def add(attack):
    def test(self):
        if attack(self.mill, SIZES.get(attack.__name__, 0)) is None:
            self.skipTest("this process may not do that")
    test.__doc__ = attack.__doc__
    setattr(HostileClients, f"test_{attack.__name__}", test)


for one in clients.ALL + [workers.large_results]:  # memory is measured in this file alone
    if one not in TOO_SLOW:
        add(one)


if __name__ == "__main__":
    unittest.main()
