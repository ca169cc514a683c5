"""Lists: tags and repositories, their order and pages; the version; what the docker client's search asks for."""

from __future__ import annotations

import pytest

from registry_process import RegistryProcess, image

REPOSITORY = "conformance/lists"
TAGS = ["10", "9", "A", "Z", "_x", "a", "a-1", "a.1", "b"]


@pytest.fixture(scope="module")
def tagged(registry: RegistryProcess) -> RegistryProcess:
    registry.push_blob(REPOSITORY, b"{}")
    for tag in reversed(TAGS):
        registry.push_manifest(REPOSITORY, tag, image(b"{}"))
    return registry


def pages(registry: RegistryProcess, path: str, what: str) -> list[list[str]]:
    """All pages that the Link headers lead to."""
    found = []
    while path:
        page = registry.request("GET", path)
        found.append(page.json[what])
        path = page.headers.get("link", "")[1:].partition(">")[0]
    return found


def test_the_version(registry: RegistryProcess) -> None:
    for path in ("/v2/", "/v2"):
        answer = registry.request("GET", path)
        assert (answer.status, answer.headers["docker-distribution-api-version"]) == (200, "registry/2.0")
        assert (answer.headers["content-type"], answer.body) == ("application/json", b"{}")


def test_tags_are_in_order(tagged: RegistryProcess) -> None:
    answer = tagged.request("GET", f"/v2/{REPOSITORY}/tags/list")
    assert answer.json == {"name": REPOSITORY, "tags": sorted(TAGS)}
    assert "link" not in answer.headers


def test_pages_of_tags(tagged: RegistryProcess) -> None:
    found = pages(tagged, f"/v2/{REPOSITORY}/tags/list?n=4", "tags")
    assert found == [sorted(TAGS)[:4], sorted(TAGS)[4:8], sorted(TAGS)[8:]]


def test_the_parameters_of_pages(tagged: RegistryProcess) -> None:
    def tags(query: str) -> list[str]:
        return list(tagged.request("GET", f"/v2/{REPOSITORY}/tags/list?{query}").json["tags"])

    in_order = sorted(TAGS)
    for tag in [*in_order, "B", "0", "zzz"]:
        assert tags(f"last={tag}") == [one for one in in_order if one > tag]
        assert tags(f"n=2&last={tag}") == [one for one in in_order if one > tag][:2]
    assert tags("n=0") == []
    assert tags("n=100") == in_order
    for wrong in ("x", "-1", "1.5", "99999999999999999999"):
        for path in (f"/v2/{REPOSITORY}/tags/list", "/v2/_catalog"):
            refused = tagged.request("GET", f"{path}?n={wrong}")
            assert (refused.status, refused.code) == (400, "PAGINATION_NUMBER_INVALID")


def test_repositories(tagged: RegistryProcess) -> None:
    for name in ("conformance/listed-a", "conformance/listed-b"):
        tagged.push_blob(name, b"{}")
    everything = tagged.request("GET", "/v2/_catalog?n=10000").json["repositories"]
    assert everything == sorted(everything)
    assert {REPOSITORY, "conformance/listed-a"} <= set(everything)
    page = tagged.request("GET", "/v2/_catalog?n=1&last=conformance/listed-a")
    assert page.json["repositories"] == ["conformance/listed-b"]
    paged = pages(tagged, "/v2/_catalog?n=2", "repositories")
    assert [name for page in paged for name in page] == everything


def test_search(tagged: RegistryProcess) -> None:
    assert tagged.request("GET", "/v1/_ping").status == 200
    tagged.push_blob("conformance/search-for-me", b"{}")
    found = tagged.request("GET", "/v1/search?q=SEARCH-for&n=25").json
    assert found["query"] == "SEARCH-for"
    assert (found["num_results"], [one["name"] for one in found["results"]]) == (1, ["conformance/search-for-me"])
    assert tagged.request("GET", "/v1/search?q=nothing-of-that-name").json["results"] == []
    assert len(tagged.request("GET", "/v1/search?q=conformance&n=1").json["results"]) == 1
    assert tagged.request("GET", "/v1/search?q=%25_&n=5").json["results"] == [], "no pattern of SQL"
