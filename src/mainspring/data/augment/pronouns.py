"""What "her" and "his" become, which each stand for two words of the other gender.

    her + noun phrase   -> his     her book, her own, her very old car
    her + anything else -> him     saw her. / told her that / gave her the book / let her go / paid her 5 dollars
    his + noun phrase   -> her     his book, his own
    his + anything else -> hers    it is his. / a friend of his was / his is old

A noun phrase begins with any word that is not among `CLOSED`, with two exceptions for "her": a verb behind
"let her", "saw her" and the like, and a number or "more" behind "gave her" and the like, leave it an object. An
adverb in -ly is looked through. "call her back" and "took her home" are met by their verbs. Known limits: "made her
happy", "gave her advice" and "saw her duck" are read as nouns of hers; a parser would be needed for these.
"""

import re

CLOSED = frozenset(
    """a an the this that these those some any each every no all both either neither another enough
    i you he she it we they me him her us them my your his hers its our their mine yours ours theirs
    himself herself myself yourself itself ourselves themselves who whom whose which what when where why how whether
    and or but nor so yet because although though while if unless until since before after than as once
    of to in on at by for from with without about against between among into onto through during above below under
    over up down out off away around across along behind beside besides despite except inside near outside past
    toward towards upon within throughout via per like
    is are was were be been being am has have had do does did isn't wasn't aren't weren't hasn't hadn't
    doesn't didn't don't would could should may might must shall won't wouldn't couldn't can't
    not never always often sometimes again already also too even just now then there here today tomorrow yesterday
    tonight soon later still almost perhaps maybe instead anyway anymore alone together twice everything something
    anything nothing everyone someone anyone nobody""".split()  # noqa: SIM905
)
CAUSING = frozenset(
    """let lets letting make makes made making help helps helped helping see sees saw seen seeing hear hears heard
    hearing watch watches watched watching feel feels felt bid""".split()  # noqa: SIM905
)
BARE_VERBS = frozenset(
    """go come leave cry laugh feel think know see do be get run walk stay talk speak sing fall take stop start win
    lose try understand sleep smile want become realize decide believe forget remember move carry find give keep
    pay buy sell learn read write cook clean stand sit eat drink drive play work enter pass wait grow live die
    finish make look say tell ask choose reach save build dance swim jump climb scream identify""".split()  # noqa: SIM905
)
GIVING = frozenset(
    """give gives gave given giving pay pays paid paying cost costs costing owe owes owed owing lend lends lent loan
    loaned send sends sent sending hand hands handed offer offers offered charge charges charged show showed
    shown tell told teach taught bring brings brought buy buys bought buying earn earns earned earning leaves left
    take takes took taking last lasts lasted takes save saves saved makes gives get gets got""".split()  # noqa: SIM905
)
NUMBERS = frozenset(
    """one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty hundred half
    more less several many few double triple extra additional approximately exactly only roughly""".split()  # noqa: SIM905
)
NO_ADVERBS = frozenset(
    """family belly bully butterfly fly jelly lily ally reply supply assembly monopoly anomaly early only elderly daily
    weekly monthly yearly hourly friendly lovely lonely ugly silly holy jolly likely curly costly orderly lively
    deadly cuddly bubbly wobbly smelly homely sickly kindly""".split()  # noqa: SIM905
)
RETURNING = frozenset(
    """call calls called calling pay pays paid paying bring brings brought take takes took taking send sends sent
    drive drives drove get gets got want wants wanted welcome welcomed walk walked""".split()  # noqa: SIM905
)
NEXT = re.compile(r"[ \t\n]*((?:[^\W_][\w'\u2019-]*)|\S|$)")
ORDINAL = re.compile(r"\d+[a-z]{2}$")
LAST = re.compile(r"([\w'\u2019-]+)[ \t\n]*$")


def of_her(text: str, start: int, end: int) -> str:
    """What the "her" at these characters is for a man: his or him."""
    word, behind = _next(text, end)
    before = LAST.search(text, max(0, start - 40), start)
    verb = before.group(1).lower() if before else ""
    if verb in CAUSING and word in BARE_VERBS:
        return "him"
    if _is_number(word):
        return "him" if verb in GIVING else "his"
    if word in ("back", "home") and verb in RETURNING:
        return "him"
    if word.endswith("ly") and word not in NO_ADVERBS:
        word, _ = _next(text, behind)
    return "his" if _begins_noun_phrase(word) else "him"


def of_his(text: str, end: int) -> str:
    """What the "his" that ends there is for a woman: her or hers."""
    word, _ = _next(text, end)
    return "her" if _begins_noun_phrase(word) or _is_number(word) else "hers"


def _next(text: str, end: int) -> tuple[str, int]:
    """The word or sign behind a place, in lower case, and where it ends."""
    found = NEXT.match(text, end)
    return (found.group(1).lower(), found.end()) if found else ("", end)


def _is_number(word: str) -> bool:
    is_count = word[:1].isdigit() and not ORDINAL.match(word)
    return is_count or word in NUMBERS or word in ("$", "\u20ac", "\u00a3")


def _begins_noun_phrase(word: str) -> bool:
    return word in ("\u201c", '"', "(", "[", "*", "_") or (word[:1].isalnum() and word not in CLOSED)
