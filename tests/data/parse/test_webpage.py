import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.parse import parse
from mainspring.data.parse.base import Raw
from mainspring.data.parse.limits import ParseLimits
from mainspring.data.parse.webpage import read
from mainspring.errors import DocumentError


def blocks_of(body):
    raw = body if isinstance(body, bytes) else body.encode()
    parsed = read(Raw(data=raw, name="d.html", limits=ParseLimits()))
    return [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]


class Words(HTMLParser):
    """The visible words of a page, found by the standard library: an independent reader."""

    LEFT_OUT = ("script", "style", "nav", "title", "template", "noscript")

    def __init__(self):
        super().__init__()
        self.found, self.depth = [], 0

    def handle_starttag(self, tag, attributes):
        self.depth += tag in self.LEFT_OUT

    def handle_endtag(self, tag):
        self.depth -= tag in self.LEFT_OUT

    def handle_data(self, data):
        if not self.depth:
            self.found += re.findall(r"[a-z]+", data)


def words_of(page):
    reader = Words()
    reader.feed(page)
    return reader.found


@pytest.mark.parametrize(
    ("body", "blocks"),
    [
        ("<p>One <b>two</b>\n three.<p>Four", [("paragraph", "One two three."), ("paragraph", "Four")]),
        ("Loose<div>in<i>line</i></div>end", [("paragraph", text) for text in ("Loose", "inline", "end")]),
        ("<h2>A\n<em>b</em></h2>c", [("heading", "A b"), ("paragraph", "c")]),
        ("<h1><div>A</div><div>b</div></h1>", [("heading", "A b")]),
        ("<p>a<br>b<br/><br>c</p>", [("paragraph", "a\nb\nc")]),
        ("<p>Fish &amp; chips&nbsp;&lt; 3 &eacute;</p>", [("paragraph", "Fish & chips < 3 é")]),
        ("<script>x</script><style>y</style><nav>z</nav><template>t</template>a", [("paragraph", "a")]),
        ("a<p hidden>b</p><p style='color:red; display : none'>c</p><select><option>d</select>", [("paragraph", "a")]),
        ("a<h2 hidden>b</h2>c<nav>d</nav>e", [("paragraph", text) for text in "ace"]),
        ("<ul><li>a<ul hidden><li>b</ul><li>c</ul>", [("list", "- a\n- c")]),
        ("a<script>b</script>c<span hidden>d</span>e", [("paragraph", "ace")]),
        ("a<!-- b --><?php c ?>", [("paragraph", "a")]),
        ("<pre>  if x:\n\n    y\n  z</pre>", [("code", "if x:\n\n  y\nz")]),
        ("<pre><code>a<br>b &lt; <b>c</b></code></pre>d", [("code", "a\nb < c"), ("paragraph", "d")]),
        ("<figure><img alt=x><figcaption>Cap</figcaption></figure>", [("paragraph", "Cap")]),
    ],
)  # fmt: skip
def test_what_a_reader_sees_becomes_blocks(body, blocks):
    assert blocks_of(body) == blocks


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<ul><li>a<li>b</ul>", "- a\n- b"),
        ("<ol><li>a<li><p>b</p><p>more</p></ol>", "1. a\n2. b\n  more"),
        ("<ol start=5><li>a<li>b</ol>", "5. a\n6. b"),
        ("<ul><li>a<ol><li>b<li>c</ol>after<li>d</ul>", "- a\n  1. b\n  2. c\n  after\n- d"),
        ("<ul><li><div><ul><li>deep</ul></div></ul>", "  - deep"),
        ("<dl><dt>Term<dd>Meaning<dd>Other<dt>Next</dl>", "- Term\n  Meaning\n  Other\n- Next"),
        ("<li>no list<li>around it", "- no list\n- around it"),
        ("<ul><li></ul><ul><li>a</ul>", "- a"),
        ("<ol start=x><li>a</ol>", "1. a"),
    ],
)
def test_lists_keep_their_marks_and_their_depth(body, text):
    assert "\n".join(text for _, text in blocks_of(body)) == text
    assert {kind for kind, _ in blocks_of(body)} == {"list"}


def test_code_within_a_list_is_a_block_of_its_own_and_the_list_goes_on():
    assert blocks_of("<ol><li>Run<pre>x = 1</pre>then<li>stop</ol>") == [
        ("list", "1. Run"),
        ("code", "x = 1"),
        ("list", "  then\n2. stop"),
    ]


def test_a_table_of_data_is_rows_and_a_table_of_layout_is_opened():
    data = "<table><caption>Teas</caption><tr><th>a<th>b<tr><td>1<br>one<td><ul><li>x<li>y</ul></table>"
    assert blocks_of(data) == [("paragraph", "Teas"), ("table", "| a | b |\n| 1 one | x y |")]
    layout = "<table><tr><td><h1>Head</h1><p>Text</p><td><table><tr><td>in</table></table>"
    assert blocks_of(layout) == [("heading", "Head"), ("paragraph", "Text"), ("table", "| in |")]
    marked = "<table role=presentation><tr><td>left<td>right</table>"
    assert blocks_of(marked) == [("paragraph", "left"), ("paragraph", "right")]


def test_the_title_is_the_heading_a_page_opens_with_or_what_its_head_says():
    head = b"<title>The\n site</title>"
    assert parse(head + b"<p>a</p><h1>Late</h1>", "d.html", "html").title == "The site"
    assert parse(head + b"<h1>First</h1><p>a</p>", "d.html", "html").title == "First"
    assert parse(b"<p>a</p>", "d.html", "html").title == ""


def test_a_declared_encoding_is_kept_to():
    page = '<meta charset="windows-1251"><p>Привет</p>'
    assert blocks_of(page.encode("cp1251")) == [("paragraph", "Привет")]
    with pytest.raises(DocumentError, match=r"not UTF-8 text \(byte 3"):
        blocks_of("<p>Привет</p>".encode("cp1251"))


@pytest.mark.parametrize(
    "body", ["<script>only()</script>", "<p></p>", "<html></html>", "<!-- x -->", "<img src=x>"]
)
def test_a_page_without_text_is_refused(body):
    with pytest.raises(DocumentError, match="holds no text"):
        blocks_of(body)


@pytest.mark.parametrize("tag", ["div", "b", "ul><li", "table><tr><td"])
def test_deep_pages_are_read_whole_or_refused_but_never_cut_short(tag):
    assert blocks_of(f"<{tag}>" * 400 + "x")[-1][1].strip("- |") == "x"
    with pytest.raises(DocumentError, match="more than 2,048 deep"):
        blocks_of(f"before<{tag}>" * 3_000 + "x")


INLINE = st.sampled_from(["b", "i", "a", "span", "code", "sup"])
BLOCK = st.sampled_from(
    ["p", "div", "h1", "h3", "ul", "ol", "li", "section", "pre", "nav", "blockquote", "td", "table", "tr"]
)
WORD = st.text("abcdefgh", min_size=1, max_size=6)
TREE = st.recursive(
    WORD.map(lambda word: f" {word} "),
    lambda inner: st.tuples(st.one_of(INLINE, BLOCK), st.lists(inner, max_size=4)).map(
        lambda made: f"<{made[0]}>{''.join(made[1])}</{made[0]}>"
    ),
    max_leaves=25,
)


@given(st.lists(TREE, min_size=1, max_size=5).map("".join))
@settings(max_examples=100, deadline=None)
def test_no_visible_word_is_lost_or_doubled_whatever_the_nesting(body):
    page = f"<html><body><p>start</p>{body}</body></html>"
    found = [word for _, text in blocks_of(page) for word in re.findall(r"[a-z]+", text)]
    assert found == words_of(page)
