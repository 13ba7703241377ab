import pytest

from mainspring.data.parse import parse
from mainspring.errors import DocumentError

pytest.importorskip("lxml_html_clean", reason="trafilatura needs lxml_html_clean, which is not installed")

SENTENCE = "The old lamp of the harbour turns every twelve seconds and is seen for twenty miles at sea. "
PAGE = f"""<html><head><title>The lamp</title></head><body>
<div class="menu"><ul><li><a href="/a">Home</a></li><li><a href="/b">Products</a></li></ul></div>
<article><h1>The lamp</h1><p>{SENTENCE * 3}</p><h2>How it turns</h2><p>{SENTENCE * 2}</p>
<ul><li>Oil is poured in the morning of each day.</li><li>The weight is wound up at night.</li></ul>
<pre><code>turn(lamp)\n    wait(12)</code></pre>
<table><tr><th>Year</th><th>Keeper</th></tr><tr><td>1890</td><td>Ann Miller</td></tr></table>
<blockquote><p>Seen from the sea, it saved us all in the great storm of that year.</p></blockquote></article>
<div class="footer">Cookie settings. Subscribe to our newsletter! Share on social media.</div></body></html>"""


def test_the_main_text_stays_and_menus_and_footers_go():
    parsed = parse(PAGE.encode(), "d.html", "article")
    assert parsed.title == "The lamp"
    assert "twelve seconds" in parsed.text
    assert "great storm" in parsed.text
    for unwanted in ("Products", "Cookie", "newsletter"):
        assert unwanted not in parsed.text
        assert unwanted in parse(PAGE.encode(), "d.html", "html").text


def test_its_structure_is_kept_with_exact_places():
    parsed = parse(PAGE.encode(), "d.html", "article")
    found = {block.kind: parsed.text[block.start : block.end] for block in parsed.blocks}
    assert found["list"] == "- Oil is poured in the morning of each day.\n- The weight is wound up at night."
    assert found["table"] == "| Year | Keeper |\n| 1890 | Ann Miller |"
    assert found["code"] == "turn(lamp)\n    wait(12)"
    assert parsed.blocks[-1].heading_path[-1] == "How it turns"


def test_a_page_of_links_has_no_main_text():
    with pytest.raises(DocumentError, match="no main text"):
        parse(b"<nav><a href=/a>Home</a></nav>", "d.html", "article")
