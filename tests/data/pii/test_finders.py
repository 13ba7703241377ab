"""Each kind of personal data: what is found, with its exact place, and what looks like it and is none."""

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.pii.base import KINDS, PATTERNED, Span, find
from mainspring.data.pii.credit_card import passes_luhn
from mainspring.data.pii.iban import is_valid
from mainspring.data.pii.secret import entropy

FOUND = {
    "email": [
        ("Write to <ann.lee+news@mail.example.co.uk>.", "ann.lee+news@mail.example.co.uk"),
        ("mailto:o'neil@example.org?subject=hi", "o'neil@example.org"),
        ("'ann@example.org'", "ann@example.org"),
        ("ändern@müller.example", "ändern@müller.example"),
    ],
    "phone": [
        ("Call +44 20 7946 0018 now", "+44 20 7946 0018"),
        ("(212) 555-0142", "(212) 555-0142"),
        ("my phone: 555 0142 99", "555 0142 99"),
        ("1-800-555-0199 x42", "1-800-555-0199 x42"),
        ("Tel.: 030/901820", "030/901820"),
        ("Telefon 0049 (0)30 901820-11", "0049 (0)30 901820-11"),
        ("at 07700 900 123 each day", "07700 900 123"),
        ("01.99.00.12.34, home", "01.99.00.12.34"),
    ],
    "iban": [
        ("IBAN DE89 3704 0044 0532 0130 00.", "DE89 3704 0044 0532 0130 00"),
        ("to gb82west12345698765432 please", "gb82west12345698765432"),
        ("ref ab12 NL91 ABNA 0417 1643 00", "NL91 ABNA 0417 1643 00"),
    ],
    "credit_card": [
        ("4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("amex 3782-822463-10005", "3782-822463-10005"),
        ("card 9111111111111111117?", ""),
    ],
    "ip_address": [
        ("from 8.8.8.8:53", "8.8.8.8"),
        ("at 2606:4700:4700::1111 there", "2606:4700:4700::1111"),
        ("[2606:4700:4700:0:0:0:0:64]", "2606:4700:4700:0:0:0:0:64"),
    ],
    "url_credentials": [
        ("git clone https://ann:s3cret@example.org/x.git", "ann:s3cret"),
        ("redis://:pa55word@cache:6379/0", ":pa55word"),
    ],
    "us_ssn": [("his 536-90-4399 is", "536-90-4399"), ("SSN: 536904399", "536904399")],
    "birth_date": [
        ("born on March 5th, 1981 in Bonn", "March 5th, 1981"),
        ("Date of birth: 1981-03-05", "1981-03-05"),
        ("DOB 03/05/81", "03/05/81"),
        ("geboren am 5. März 1981", "5. März 1981"),
        ("born 5 of May 1981", "5 of May 1981"),
    ],
}

NONE_OF = {
    "email": [
        "@ann",
        "ann@",
        "ann@localhost",
        "a@b.c",
        "ann@.org",
        "f(@x.y)",
        "git clone git@example.org:a/b",
        "user@@example.org",
        "x" * 80 + "@example.org",
    ],
    "phone": [
        "2000-04-16 11:34:35",
        "in 1998, 1999, 2000",
        "1,234,567,890",
        "3.14159265358",
        "$1 234 567 890",
        "ISBN 978-3-16-148410-0",
        "card number 1234 5678 90",
        "v1.2.3.4567890",
        "1111111111",
        "12345678901234567890",
        "phone: 12345",
        "10:20 30 40 50 60",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14",
    ],
    "iban": [
        "DE89 3704 0044 0532 0130 01",
        "XX89 3704 0044 0532 0130 00",
        "DE893704004405320130",
        "XDE89370400440532013000",
    ],
    "credit_card": [
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "9111111111111111117",
        "4111-11111111-1111",
        "id4111111111111111",
    ],
    "ip_address": [
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "version 8.8.8.8",
        "12:34:56",
        "std::vector",
        "127.0.0.1",
        "192.168.1.1",
        "a::b::c",
        "::",
        "fe80::1",
    ],
    "url_credentials": ["https://example.org:8080/a@b", "https://ann@example.org", "see: x@y"],
    "us_ssn": [
        "000-12-3456",
        "666-12-3456",
        "912-12-3456",
        "536-00-4399",
        "536-90-0000",
        "1536-90-4399",
        "536904399",
        "536-90-43990",
    ],
    "birth_date": [
        "On 1981-03-05 it rained.",
        "born in Bonn",
        "He was born here, and a great many years later, on 5 May 1981, it rained",
        "reborn 1981-03-05",
    ],
    "secret": [
        "the token is a word",
        "password: hunter",
        "secret = abcdefghijklmnop",
        "keyboard 1234567890ab",
        "sk-learn",
        "the_key_of_12_things is here",
    ],
}


def letters(count, seed=0):
    """What looks like a key and was never one."""
    return "".join(random.Random(seed).choices(string.ascii_letters + string.digits, k=count))


def texts(text, kind):
    return [text[span.start : span.end] for span in find(text, (kind,))]


@pytest.mark.parametrize(
    ("kind", "text", "expected"), [(kind, *case) for kind in FOUND for case in FOUND[kind]]
)
def test_each_kind_is_found_at_its_exact_place(kind, text, expected):
    assert texts(text, kind) == ([expected] if expected else [])


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind in NONE_OF for text in NONE_OF[kind]])
def test_what_only_looks_like_it_is_not_taken(kind, text):
    assert texts(text, kind) == []


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + letters(16).upper(), "ghp_" + letters(36), "github_pat_" + letters(60), "glpat-" + letters(20),
        "xoxb-" + letters(24), "AIza" + letters(35), "sk_live_" + letters(24), "sk-proj-" + letters(40),
        "hf_" + letters(34), "npm_" + letters(36), f"SG.{letters(22)}.{letters(43)}",
        f"eyJ{letters(20)}.eyJ{letters(40)}.{letters(43)}",
    ],
    ids=lambda secret: secret[:5],
)  # fmt: skip
def test_keys_of_known_issuers_are_found_anywhere(secret):
    assert texts(f'"{secret}",', "secret") == [secret]


@pytest.mark.parametrize(
    "said",
    ['api_key = "{}"', "password: {}", "Authorization: Bearer {}", "ACCESS_TOKEN={}", "the secret is {}"],
)
def test_random_letters_behind_a_word_are_a_secret(said):
    assert texts(said.format(letters(24)), "secret") == [letters(24)]


def test_a_private_key_is_found_whole():
    block = f"-----BEGIN RSA PRIVATE KEY-----\n{letters(64)}\n{letters(64, 1)}\n-----END RSA PRIVATE KEY-----"
    assert texts(f"before\n{block}\nafter", "secret") == [block]
    assert texts(block[:100], "secret") == []


@given(st.integers(0, 10**14 - 1))
def test_a_number_with_its_check_digit_passes_and_with_any_other_fails(number):
    """Against the check as it is done by hand: double every second digit, add the digits of what comes out."""
    digits = f"4{number:014d}"
    doubled = [int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(digits))]
    check = -sum(sum(map(int, str(each))) for each in doubled) % 10
    assert [passes_luhn(f"{digits}{last}") for last in range(10)] == [last == check for last in range(10)]
    assert texts(f"pay {digits}{check} now", "credit_card") == [f"{digits}{check}"]


@given(st.text("0123456789", min_size=18, max_size=18))
def test_an_account_with_its_check_digits_is_found_and_with_any_others_is_not(account):
    check = 98 - int(account + "131400") % 97  # D is 13 and E is 14
    assert is_valid(f"DE{check:02d}{account}")
    assert texts(f"to DE{check:02d}{account}.", "iban") == [f"DE{check:02d}{account}"]
    assert not is_valid(f"DE{(check + 1) % 97 + 2:02d}{account}") or (check + 1) % 97 + 2 == check


@pytest.mark.parametrize(("value", "bits"), [("aaaa", 0.0), ("abab", 1.0), ("abcd", 2.0), ("abcdefgh", 3.0)])
def test_entropy_is_shannons(value, bits):
    assert entropy(value) == bits


def test_where_two_kinds_overlap_the_surer_one_stays():
    (span,) = find("call 536-90-4399 now", ("phone", "us_ssn"))
    assert span.kind == "us_ssn"
    (span,) = find("https://ann:pw@example.org", ("email", "url_credentials"))
    assert span.kind in ("email", "url_credentials")


@given(st.text() | st.text("0123456789-. +()@:/ab", max_size=80))
def test_spans_are_within_the_text_in_order_and_apart(text):
    found = find(text)
    edges = [0, *(edge for span in found for edge in (span.start, span.end)), len(text)]
    assert edges == sorted(edges)
    assert all(span.start < span.end and span.kind in PATTERNED and 0.5 <= span.score <= 1 for span in found)


def test_less_sure_findings_are_given_where_they_are_asked_for():
    assert find("on 192.168.1.1") == []
    assert find("on 192.168.1.1", min_score=0.2) == [Span(kind="ip_address", start=3, end=14, score=0.3)]


@pytest.mark.slow
def test_names_of_people_are_found_only_where_they_are_asked_for():
    pytest.importorskip("spacy", reason="spaCy (extra nlp) is not installed")
    text = "Yesterday Barack Obama met Angela Merkel in Berlin."
    assert find(text) == []
    assert texts(text, "person") == ["Barack Obama", "Angela Merkel"]
    assert set(KINDS) - set(PATTERNED) == {"person"}
