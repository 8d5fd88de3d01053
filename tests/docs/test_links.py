"""Every link within the repository leads somewhere."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, links, pages

PAGES = [*pages(), *(ROOT / name for name in ("DECISIONS.md", "CHANGELOG.md", "tests/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the repository"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}: no such heading"


def test_the_readme_leads_to_each_page() -> None:
    readme, *others = pages()
    led_to = {link.partition("#")[0] for link in links(readme)}
    assert {f"docs/{page.name}" for page in others} <= led_to
