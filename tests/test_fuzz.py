"""Hostile inputs and failing files, a short draw; `make fuzz` has a long one."""

import functools
import pickle

import hypothesis
import pytest
from fuzz import cases, faults, strategies

pytestmark = pytest.mark.timeout(120)
SAVED = sorted(cases.FINDINGS.glob("*.json"))


@pytest.fixture(autouse=True, scope="module")
def _cache_of_images(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("kind", strategies.KINDS)
def test_hostile_inputs_are_lines(kind):
    strategy, share = strategies.KINDS[kind]

    @hypothesis.settings(
        max_examples=share,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy())
    def each(case):
        code, fault = cases.tried(case)
        assert not fault, cases.to_json(case, fault)
        assert code in (0, 1, 2)

    each()


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_findings_stay_mended(path):
    assert cases.tried(cases.from_json(path.read_text()))[1] == ""


@pytest.mark.parametrize("command", ["rank", "report"])
def test_faults_at_some_calls(command):
    for i, name in enumerate(faults.NAMES):
        counts, wrong = faults.tried(command, name, which=range(1 + i, 32, 15))
        assert not wrong
        assert set(counts) <= {0, 2}


def test_a_kill_loses_nothing():
    counts, wrong = faults.tried("rank", "kill", which=[12])
    assert not wrong
    assert counts == {137: 1}


def test_what_goes_wrong_is_noticed(monkeypatch, tmp_path):
    whole = cases.Case("options", {}, ["--version"])
    assert cases.tried(whole) == (0, "")
    assert cases.from_json(cases.to_json(whole, "")) == whole

    def called_with(act):
        monkeypatch.setattr(cases, "called", act)
        return cases.tried(whole)[1]

    def runs_a_payload(*arguments):
        pickle.loads(pickle.dumps(strategies.Payload()))
        return cases.Outcome(2, "", "")

    def raises(*arguments):
        raise KeyError("x")

    def outcome(code, errors, *arguments):
        return cases.Outcome(code, "", errors)

    assert called_with(runs_a_payload) == "a payload has run"
    assert "KeyError" in called_with(raises)
    ends = [(3, ""), (0, "Traceback"), (0, "")]
    faults_of = [called_with(functools.partial(outcome, *end)) for end in ends]
    assert [bool(fault) for fault in faults_of] == [True, True, False]
