"""Run code from a page. Usage: CODE."""

import sys

if __name__ == "__main__":
    exec(compile(sys.argv[1], "<page>", "exec"), {"__name__": "__main__"})
