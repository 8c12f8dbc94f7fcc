"""Tests of jtransfer.report.pages: the page of a ranking, its charts and numbers."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from pages import HOSTILE, RUN, SCORES, STATIC, make_rows, read

from jtransfer._internal.errors import RequestError
from jtransfer.ranking import (
    Agreement,
    Failed,
    NotComputed,
    Plan,
    RankCorrelation,
    Scored,
    to_json,
)
from jtransfer.report import read_ranking, write_ranking
from jtransfer.report.pages import charts, formats, ranking

pytestmark = pytest.mark.timeout(60)


def changed(rows, changes):
    """The rows with other fields at some places."""
    rows = list(rows)
    for i, fields in changes.items():
        rows[i] = dataclasses.replace(rows[i], **fields)
    return rows


def missing(row, reason):
    """A row that has a reason instead of a value."""
    return NotComputed(
        source=row.source, score=row.score, reason=reason, facts=row.facts, run=row.run
    )


def make_page(rows, pair=None):
    scores = dict.fromkeys(row.score for row in rows if not isinstance(row, Failed))
    numbers = {"pearson": 0.9, "spearman": 0.8, "weighted_kendall": float("nan")}
    numbers |= {"regret_1": 0.0, "regret_3": float("nan"), "n_sources": 8}
    matrix = (np.eye(len(scores)) - 0.3).tolist()
    if matrix:
        matrix[0][-1] = None
    return ranking.ranking_html(
        rows,
        [Agreement(score=name, **numbers) for name in scores],
        RankCorrelation(list(scores), matrix),
        pair,
    )


def hostile_rows():
    rows = make_rows(4)
    for i, row in enumerate(rows):
        text = HOSTILE[i % 5]
        run = dataclasses.replace(
            RUN,
            target=HOSTILE[1],
            device=text,
            versions={text: text},
            created=text,
            class_names=HOSTILE,
        )
        place = 4 if isinstance(row, Failed) else int(row.source[-1])
        facts = {**row.facts, text: text, "list": [text]}
        fields = {"source": HOSTILE[place], "source_hash": text, "run": run}
        row = dataclasses.replace(row, facts=facts, **fields)
        if isinstance(row, Failed):
            row = dataclasses.replace(row, reason=text)
        else:
            row = dataclasses.replace(row, warnings=[text])
            if row.score == "my-score":
                row = dataclasses.replace(row, score=HOSTILE[0], value=1)
                row = missing(row, text) if i % 2 else row
        rows[i] = row
    return rows


def svgs(page):
    """The charts, parsed as XML."""
    charts = r'<svg class="(?:ranking|scatter|heat)".*?</svg>(?=</figure>|<dl>|</div>)'
    return [ET.fromstring(text) for text in re.findall(charts, page, re.DOTALL)]


def test_texts_cannot_bring_in_markup():
    page = make_page(hostile_rows())
    tags, attributes, text = read(page)
    assert [tags.count(tag) for tag in ("script", "style", "img")] == [1, 1, 0]
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert all(hostile in text for hostile in HOSTILE[:4])
    page.encode()  # a lone surrogate could not be written to a file


def test_needs_nothing_else():
    page = make_page(make_rows())
    attributes = read(page)[1]
    assert [link for name, link in attributes if name in ("src", "href")] == ["data:,"]
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttp", page)


def test_the_policy_allows_our_script_only():
    page = make_page(make_rows())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; img-src data:;")
    script = page[page.index("<script>") + 8 : page.index("</script>")]
    digest = hashlib.sha256(script.encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_stays_small():
    rows = make_rows(40, (*SCORES, "a", "b", *STATIC), "efficientnet-lite0-run-{:02d}")
    assert len(make_page(rows).encode()) < 250_000


@pytest.mark.parametrize("make", [make_rows, hostile_rows])
def test_charts_are_valid_xml(make):
    assert len({chart.get("class") for chart in svgs(make_page(make()))}) == 3


def test_verdict():
    rows = make_rows(scores=("logme", "ridge_probe", "parameters"))
    names = [row.source for row in rows[:3]]
    rows = changed(rows, {-2: {"rank": 0}})
    text = read(make_page(rows))[2]
    odds = f"{names[1]} with probability 0.80."
    assert f"Transfer from {names[0]}. By LogME it beats {odds}" in text
    picked = f"the number of parameters would pick {rows[-2].source}."
    assert f"Of the baselines, the ridge probe agrees; {picked}" in text
    assert "shuffled labels give, so" not in text
    text = read(make_page(changed(rows, {1: {"group": 0}, 0: {"low": 0.1}})))[2]
    assert f"{names[0]} and {names[1]} cannot be told apart by LogME." in text
    assert f"{names[0]} is not above what shuffled labels give" in text


def test_warnings_and_reasons_are_given_once():
    rows = make_rows()
    rows = changed(rows, dict.fromkeys(range(3), {"warnings": ["too few examples"]}))
    rows[4] = missing(rows[4], "needs logits")
    text = read(make_page(rows))[2]
    assert text.count("too few examples") == text.count("needs logits") == 1
    assert "LogME: model-00, model-01 and model-02" in text
    assert "failed: ValueError: NaN in features" in text


def test_draws_what_it_can():
    assert "No source could be ranked" in ranking.ranking_html([])
    assert "failed: no file" in ranking.ranking_html(
        [Failed(source="a", reason="no file")]
    )
    assert "has a score: there is nothing to compare" in make_page(make_rows(1))
    names = ("value", "low", "chance", "chance_high", "beats_next", "rank", "n")
    for value in (float("nan"), float("inf"), -1e308, None, "text", 5e-324, 10**400):
        fields = dict.fromkeys(names, value)
        rows = changed(make_rows(4), {1: fields, 6: fields})
        rows = changed(rows, {1: {"facts": {"accuracy": value, "parameters": value}}})
        assert len(svgs(make_page(rows))) == 15


def test_a_row_without_a_run_is_drawn():
    rows = [Scored(source="a", score="logme", value=1.0)]
    assert "the target" in read(make_page(rows))[2]


def test_a_source_that_could_not_be_verified_has_no_column_of_accuracies():
    reason = "Too few examples to set some aside."
    rows = make_rows(4, ("logme",))
    unverified = NotComputed(source="model-00", score="accuracy", reason=reason)
    tags, _, text = read(make_page([*rows, unverified]))
    assert f"{reason} Accuracy after transfer: model-00" in text
    assert tags.count("th") == read(make_page(rows))[0].count("th")
    assert reason in read(make_page([unverified]))[2]


def transport_rows():
    """Two sources with a plan, of which the second is the better one."""
    plan = Plan(
        source_classes=["<i>cats", "dogs", "mice"],
        masses=[[0.0, 0.4], [0.3, 0.1], [0.2, 0.0]],
        left_out=0.0,
    )
    run = dataclasses.replace(RUN, class_names=["a", "b"])
    return [
        Scored(
            source=name, score="sinkhorn", value=value, rank=rank, plan=plan, run=run
        )
        for name, value, rank in (("first", 0.0, 2), ("second", 1.0, 1))
    ]


def test_the_plan_is_that_of_the_best_source_that_has_one():
    rows = transport_rows()
    page = make_page(rows)
    assert "carries the predictions of second (rows: its 3 classes)" in read(page)[2]
    # Rows are ordered by their columns.
    assert page.index(">dogs<") < page.index(">mice<") < page.index(">&lt;i&gt;cats<")
    assert "Classes not shown" not in page
    partial = dataclasses.replace(rows[1].plan, left_out=0.25)
    text = read(make_page(changed(rows, {1: {"plan": partial}})))[2]
    assert "its 3 most predicted classes" in text
    assert "Classes not shown carry 25.0% of the mass." in text
    others = [dataclasses.replace(row, score="sinkhorn_exact") for row in rows]
    assert "the predictions of second" in read(make_page(others))[2]
    page = make_page(changed(rows, {0: {"plan": None}, 1: {"plan": None}}))
    assert "Which class stands for which" not in page


def test_only_a_ranking_can_be_read(tmp_path):
    rows = [*make_rows(2), *transport_rows()]
    write_ranking(rows, tmp_path)
    path = tmp_path / "ranking.jsonl"
    assert [to_json(row) for row in read_ranking(tmp_path)] == list(map(to_json, rows))
    *others, last = path.read_text().splitlines()
    fields = json.loads(last)
    damaged = [fields | {"low": "text"}, fields | {"warnings": None}, [], None, 1]
    damaged += [fields | {"versions": []}, fields | {"created": 5}]
    damaged += [fields | {"plan": [1]}, fields | {"plan": {}}]
    damaged += [fields | {"plan": fields["plan"] | {"masses": [[1.0, 2.0]]}}]
    for content in damaged:
        path.write_text("\n".join([*others, json.dumps(content)]))
        with pytest.raises(RequestError) as fault:
            read_ranking(tmp_path)
        assert "ranking.jsonl cannot be read: " in str(fault.value)
        assert "\n" not in str(fault.value)


def test_numbers_are_readable():
    assert formats.number(-0.001, 2) == "0.00"
    assert formats.number(11_173_962, 0) == "11.2 M"
    assert formats.number(3e-7) == "3.00e\N{MINUS SIGN}07"
    assert formats.number(None) == formats.number(1e300) == "\N{EN DASH}"


def test_short_names_stay_apart():
    names = [f"resnet50-with-a-long-prefix-{i:02d}-and-suffix" for i in range(30)]
    texts = formats.short([*names, "plain", "漢字" * 20])
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) <= 21


def test_scatter_marks_the_worst_of_equal_first_choices():
    points = [
        charts.Point(0, "a", 2.0, 0.9),
        charts.Point(1, "b", 2.0, 0.5),
        charts.Point(2, "c", 1.0, 0.7),
    ]
    chart = charts.scatter(points, charts.axis([0, 2]), charts.axis([0, 2]), label="")
    assert ET.fromstring(chart).find("circle[@class='chosen']").get("data-s") == "1"


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "google-chrome", "chromium-browser")
    path = next(filter(None, map(shutil.which, names)), None)
    if not path:
        pytest.skip("no Chromium or Chrome on the search path")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page; in the end, nothing was complained of and nothing else loaded."""
    path, noise = tmp_path / "report.html", []

    def opened(text, **options):
        path.write_text(text, encoding="utf-8")
        tab = browser.new_page(**options)
        tab.on("console", lambda message: noise.append(message.text))
        tab.on("pageerror", lambda error: noise.append(str(error)))
        tab.on("request", lambda request: noise.append(request.url))
        tab.goto(path.as_uri())
        return tab

    yield opened
    assert set(noise) - {"data:,"} == {path.as_uri()}
    for context in browser.contexts:
        context.close()


def column(tab, index):
    cells = tab.locator(f"tbody:first-of-type tr > :nth-child({index})").all()
    return [cell.get_attribute("data-v") for cell in cells]


@pytest.mark.parametrize(("name", "index"), [("LogME", 3), ("Parameters", 9)])
def test_sorts_by_a_column_both_ways(opened, name, index):
    rows = make_rows(12)
    rows[5], rows[-5] = missing(rows[5], "none"), missing(rows[-5], "none")
    tab = opened(make_page(rows))
    head = tab.locator("th", has=tab.get_by_role("button", name=name, exact=True))
    before = column(tab, index)
    head.get_by_role("button").click()
    numbers = sorted((float(value) for value in before if value), reverse=True)
    assert column(tab, index)[-1] is None
    assert [float(value) for value in column(tab, index)[:-1]] == numbers
    assert head.get_attribute("aria-sort") == "descending"
    tab.keyboard.press("Enter")
    assert [float(value) for value in column(tab, index)[:-1]] == numbers[::-1]
    assert head.get_attribute("aria-sort") == "ascending"
    assert "broken" in tab.locator("tr").last.inner_text()


@pytest.mark.parametrize("script", [True, False])
def test_shows_the_chosen_chart(opened, script):
    tab = opened(make_page(make_rows()), java_script_enabled=script)
    charts = tab.locator("svg.ranking")
    assert charts.nth(0).is_visible()
    tab.get_by_text("LEEP", exact=True).first.click()
    assert [charts.nth(i).is_visible() for i in (0, 1)] == [False, True]
    tab.keyboard.press("ArrowLeft")
    assert charts.nth(0).is_visible()


def test_hostile_texts_do_nothing(opened):
    tab = opened(make_page(hostile_rows()))
    tab.get_by_role("button").first.click()
    tab.locator("tbody tr").first.hover()
    assert tab.evaluate("typeof hacked") == "undefined"


@pytest.mark.parametrize("width", [420, 1280])
def test_fits_the_screen(opened, width):
    rows = make_rows(12, name="a-rather-long-name-" * 5 + "{:02d}")
    tab = opened(make_page(rows), viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") == width
