"""What `cmake --install` lays down: every file in its place, units that systemd understands, and no
unit more exposed than a bound that is raised only with a reason."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(os.environ.get("JM_BUILD", "build/release")).resolve()

# Exposure by `systemd-analyze security`, from 0 (safe) to 10. A worker runs programs that a person
# put there, which may need the network and may bring a just-in-time compiler.
EXPOSURE = {
    "jobmill-broker.service": 1.5,
    "jobmill-redis.service": 1.5,
    "jobmill-worker@.service": 2.0,
}
UNITS = [*EXPOSURE, "jobmill-broker.socket", "jobmill.target"]
FILES = ["bin/jobmill", "bin/jobmill-broker", "bin/jobmill-worker", "include/jobmill.h",
         "lib/sysusers.d/jobmill.conf", "lib/tmpfiles.d/jobmill.conf"]
LIBRARIES = ["libjobmill.so", "libjobmill.a", "pkgconfig/libjobmill.pc"]


def run(*command, **options):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, **options)


def prefix():
    cache = (BUILD / "CMakeCache.txt").read_text(encoding="utf-8")
    return re.search(r"^CMAKE_INSTALL_PREFIX:\w+=(.*)$", cache, re.MULTILINE).group(1)


class Installation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="jobmill-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        answer = run("cmake", "--install", BUILD, env={**os.environ, "DESTDIR": str(cls.root)})
        assert answer.returncode == 0, answer.stdout
        cls.prefix = cls.root / prefix().lstrip("/")
        cls.units = cls.prefix / "lib/systemd/system"


class Files(Installation):
    def test_every_file_is_in_its_place(self):
        missing = [name for name in FILES if not (self.prefix / name).is_file()]
        for name in LIBRARIES:
            if not list(self.prefix.glob(f"lib/**/{name}")):
                missing.append(name)
        missing += [name for name in UNITS if not (self.units / name).is_file()]
        self.assertEqual(missing, [])

    def test_pkg_config_leads_a_compiler_to_the_library(self):
        folder = next(self.prefix.glob("lib/**/libjobmill.pc")).parent
        source = self.root / "version.c"
        source.write_text('#include <jobmill.h>\n#include <stdio.h>\n'
                          "int main(void) { return puts(jobmill_version()) < 0; }\n")
        flags = run("pkg-config", "--cflags", "--libs", "libjobmill", env={
            **os.environ, "PKG_CONFIG_PATH": str(folder), "PKG_CONFIG_SYSROOT_DIR": str(self.root)})
        self.assertEqual(flags.returncode, 0, flags.stdout)
        program = self.root / "version"
        built = run("cc", source, "-o", program, *flags.stdout.split(),
                    f"-Wl,-rpath,{folder.parent}")
        self.assertEqual(built.returncode, 0, built.stdout)
        answer = run(program)
        self.assertRegex(answer.stdout, r"^\d+\.\d+\.\d+\n$")

    def test_programs_do_not_need_the_build_tree(self):
        for name in ("jobmill", "jobmill-broker", "jobmill-worker"):
            dynamic = run("readelf", "-d", self.prefix / "bin" / name).stdout
            self.assertNotIn(str(BUILD), dynamic)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Units(Installation):
    def lay_out(self):
        """The units with the paths of the temporary root, where their programs are."""
        folder = self.root / "verify"
        folder.mkdir(exist_ok=True)
        for unit in UNITS:
            text = (self.units / unit).read_text(encoding="utf-8")
            folder.joinpath(unit).write_text(text.replace(f"={prefix()}/", f"={self.prefix}/"))
        return folder

    def test_systemd_understands_every_unit(self):
        folder = self.lay_out()
        names = [folder / unit.replace("@.", "@1.") for unit in UNITS]
        shutil.copy(folder / "jobmill-worker@.service", folder / "jobmill-worker@1.service")
        answer = run("systemd-analyze", "verify", "--man=no", *names,
                     env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"})
        ours = [line for line in answer.stdout.splitlines() if "jobmill" in line]
        self.assertEqual((answer.returncode, ours), (0, []), answer.stdout)

    def test_a_mistake_in_a_unit_would_be_seen(self):
        folder = self.lay_out()
        unit = folder / "jobmill-broker.service"
        unit.write_text(unit.read_text(encoding="utf-8").replace("/bin/jobmill-broker ",
                                                                 "/bin/jobmill-brooker "))
        answer = run("systemd-analyze", "verify", "--man=no", unit,
                     env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"})
        self.assertNotEqual(answer.returncode, 0)
        self.assertIn("jobmill-brooker", answer.stdout)

    def test_no_unit_is_more_exposed_than_it_must_be(self):
        folder = self.lay_out()
        for unit, bound in EXPOSURE.items():
            answer = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                         folder / unit)
            score = re.search(r"Overall exposure level[^:]*: ([\d.]+)", answer.stdout)
            self.assertIsNotNone(score, answer.stdout)
            print(f"exposure of {unit}: {score.group(1)} (bound {bound})")
            self.assertLessEqual(float(score.group(1)), bound, answer.stdout)

    def test_sysusers_understands_the_users(self):
        if not shutil.which("systemd-sysusers"):
            self.skipTest("systemd-sysusers is not installed")
        etc = self.root / "etc"
        etc.mkdir(exist_ok=True)
        config = self.prefix / "lib/sysusers.d/jobmill.conf"
        answer = run("systemd-sysusers", f"--root={self.root}", config)
        self.assertEqual(answer.returncode, 0, answer.stdout)
        users = (etc / "passwd").read_text(encoding="utf-8")
        self.assertRegex(users, r"(?m)^jobmill:")
        self.assertRegex(users, r"(?m)^jobmill-worker:")


if __name__ == "__main__":
    if not BUILD.joinpath("CMakeCache.txt").exists():
        sys.exit(f"{BUILD} is no build tree")
    unittest.main()
