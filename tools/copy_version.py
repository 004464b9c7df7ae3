"""Copy the version from client/holdfast/_package.py, where it is set, to the other files that need it.

Usage: copy_version.py [--check]; with --check it writes nothing and fails if a file has another version.

The client and the server are two distributions. A source distribution contains only its own folder, so that each needs
a file of its own. The server requires the client of exactly its version, and the client's extra `embedded` the server.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ("client/holdfast/_package.py", r'(?m)(?<=^VERSION = ")[^"]+')
_WHEEL = r"(?<=dist/holdfast_(?:client|server)-)[^-]+"
COPIES = (
    ("server/holdfast_server/__init__.py", r'(?m)(?<=^SERVER_VERSION = ")[^"]+'),
    ("server/pyproject.toml", r'(?<="holdfast-client==)[^"]+'),
    ("client/pyproject.toml", r'(?<="holdfast-server==)[^"]+'),
    ("clients/typescript*/package.json", r'(?m)(?<=^  "version": ")[^"]+'),
    ("README.md", _WHEEL),
    ("docs/**/*.md", _WHEEL),
    ("clients/java/pom.xml", r"(?<=<artifactId>holdfast-client</artifactId>\n  <version>)[^<]+"),
    ("clients/java/README.md", r"(?<=<artifactId>holdfast-client</artifactId>\n  <version>)[^<]+"),
    ("clients/java/src/main/java/dev/holdfast/client/HoldfastClient.java", r'(?<=String VERSION = ")[^"]+'),
)


def main() -> None:
    """Copy the version, or check the copies."""
    source, pattern = SOURCE
    version = re.findall(pattern, (ROOT / source).read_text())[0]
    stale = []
    for path, copied in ((path, copied) for names, copied in COPIES for path in ROOT.glob(names)):
        text = path.read_text()
        updated = re.sub(copied, version, text)
        if text == updated:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv:
            path.write_text(updated)
    if stale and "--check" in sys.argv:
        sys.exit(f"not version {version}, which {source} has: {', '.join(stale)}; run tools/copy_version.py")


if __name__ == "__main__":
    main()
