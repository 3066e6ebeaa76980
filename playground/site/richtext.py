"""What people wrote, made safe for a page."""

import re

from markupsafe import Markup, escape

# The tags that the rich-text field of the site makes; bare, so that no attribute comes through.
_ALLOWED = re.compile(r"&lt;(/?)(p|br|strong|em|b|i|u|ul|ol|li)\s*(/?)&gt;", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>|&nbsp;")


def shown(text: str) -> Markup:
    """Everything escaped but a handful of bare formatting tags."""
    return Markup(_ALLOWED.sub(r"<\1\2\3>", str(escape(text))))  # noqa: S704 (escaped just here)


def is_empty(text: str) -> bool:
    """Whether nothing would be seen of it."""
    return not _TAG.sub("", text).strip()
