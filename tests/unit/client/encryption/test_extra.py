"""The extra is optional: a client without a keyring loads none of it, and one that needs it says what to install."""

import subprocess
import sys

ORDINARY = """
import sys
import holdfast

holdfast.Client("127.0.0.1:1").close()
holdfast.AsyncClient("127.0.0.1:1")
print(sorted(name for name in sys.modules if name.split(".")[0] == "cryptography" or "_encryption" in name))
"""
MISSING = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cryptography":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import holdfast

try:
    holdfast.Keyring
except ImportError as error:
    print(error)
"""


def printed(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_client_without_a_keyring_loads_nothing_of_cryptography():
    assert printed(ORDINARY) == "[]"


def test_a_keyring_without_the_extra_says_what_to_install():
    assert "pip install holdfast-client[encryption]==" in printed(MISSING)
