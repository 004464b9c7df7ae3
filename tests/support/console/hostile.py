"""Names and texts that a page must show as they are: markup, templates, percent signs, and scripts of any direction.

Each would make itself known if a page took it for markup: by a dialog, by a request to another host, or by a number in
the place of an expression.
"""

from urllib.parse import quote

MARKUP = '"><img src=x onerror=alert(1)>'
SCRIPT = "<script>alert(2)<script>"
TEMPLATE = "{{7*7}}${7*7}<%= 7*7 %>"
STYLE = "<style>body{display:none}<style>"
ATTRIBUTE = "x' onmouseover='alert(3)' autofocus onfocus='alert(4)"
HTMX = '<a hx-get="https:example.com" hx-trigger="load">'
RIGHT_TO_LEFT = "סדר-מספר-17-طلب"
EMOJI = "👩‍👩‍👧‍👦-🚀-ünïcödé"
PERCENT = "100%25-%2F-%3Cb%3E-%"
DOTS = "..."
DOTS_AND_PERCENT = "..%2F..%2e"
TILDE = "~~a"
QUERY = "a?b=c&d=e#f;g+h i"
SPACES = "  two  spaces  "
LONGEST = "x" * 512
LONGEST_WIDE = "長" * 170

WORKFLOWS = (
    MARKUP,
    SCRIPT,
    TEMPLATE,
    STYLE,
    ATTRIBUTE,
    HTMX,
    RIGHT_TO_LEFT,
    EMOJI,
    PERCENT,
    DOTS,
    DOTS_AND_PERCENT,
    TILDE,
    QUERY,
    SPACES,
    LONGEST,
    LONGEST_WIDE,
)
NAMESPACE = '"><script>alert(5)<script>{{7*7}}%2F'

# Values of labels and payloads may contain what names may not: slashes, and characters that reorder text.
VALUES = {
    "link": "javascript:alert(6)",
    "closing": "</script></style></textarea></title><script>alert(7)</script>",
    "reordering": "\u202egnp.exe",
    "lines": "one\ntwo\r\nthree\u2028four",
    "host": "<img src=https://example.com/pixel.png>",
    MARKUP: "the key is markup",
}


def segment(name: str) -> str:
    """Return a name as a segment of a path."""
    return quote(name, safe="")
