from fakes_feeds import documents
from mainspring.data.document import Document
from mainspring.data.feeds.base import make
from mainspring.data.sources import Source, packages


def test_the_descriptions_of_packages_are_documents_whatever_the_parts():
    settings = {"kind": "packages", "root": "starlette", "extras": []}
    expected = [entry for entry in packages("starlette", ()) if isinstance(entry, Source)]
    found = documents(settings)
    assert [each.id for each in found] == [f"packages/{entry.name}" for entry in expected]
    assert [each.text for each in found] == [entry.parse(entry.data, 10**7).text for entry in expected]
    small = make({**settings, "part_bytes": 1})
    assert len(small.parts()) == len(packages("starlette", ()))
    assert documents({**settings, "part_bytes": 1}) == found
    assert (
        small.fingerprint()
        == make(settings).fingerprint()
        != make({**settings, "root": "httpx"}).fingerprint()
    )


def test_a_package_that_is_gone_since_the_parts_were_made_is_rejected():
    feed = make({"kind": "packages", "root": "starlette", "extras": []})
    (part,) = feed.parts()
    found = list(feed.read(type(part)(path=part.path, names=("anyio", "zznowhere"))))
    assert isinstance(found[0], Document)
    assert (found[1].name, found[1].reason) == ("packages/zznowhere", "the package is no longer installed")
