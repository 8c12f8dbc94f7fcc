"""What every page has in common: one file that needs no other."""

import base64
import hashlib
import importlib.resources

from jtransfer.report.pages.charts import escape


def document(title: str, body: str) -> str:
    """Returns an HTML page with the style sheet and the script inside.

    Args:
      title: plain text.
      body: markup.

    Returns:
      The page. A policy in it forbids all scripts but ours, and all other files.
    """
    files = importlib.resources.files("jtransfer.report.pages")
    style = files.joinpath("page.css").read_text("utf-8")
    script = files.joinpath("page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
style-src 'unsafe-inline'; script-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
<title>{escape(title)}</title><style>{style}</style></head>
<body><main>{body}</main>
<script>{script}</script></body></html>
"""
