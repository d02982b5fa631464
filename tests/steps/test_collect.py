"""`pytest features/` as a user runs it: real pytest on real feature files."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

STEPS = """
from pytest_bdd import given, parsers, then, when

@given("a rack", target_fixture="rack")
def _rack(): return {}

@when(parsers.parse("{node} breaks"))
def _breaks(rack, node): rack["broken"] = node

@then(parsers.re(r"all but (?P<node>node\\d) run"))
def _run(rack, node): assert rack["broken"] == node
"""
FEATURE = """
@phase2
Feature: Links

  Background:
    Given a rack

  @criterion-3 @drill
  Scenario: One fails: node1
    When node1 breaks
    Then all but node1 run

  Scenario Outline: <node> fails
    When <node> breaks
    Then all but <other> run

    Examples:
      | node  | other |
      | node2 | node2 |
      | node3 | node1 |

  Scenario Outline: Any node
    When <node> breaks

    @slow
    Examples:
      | node  |
      | node2 |
    Examples:
      | node  |
      | node3 |
"""


@pytest.fixture
def rack(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # Only the plugins under test: the others cost more time than the tests.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider -p pytest_bdd.plugin")
    pytester.makeconftest('pytest_plugins = ["steps.collect", "some_steps"]')
    pytester.makepyfile(some_steps=STEPS)
    write(pytester, "features/phase2_network.feature", FEATURE)
    pytester.syspathinsert()
    return pytester


def write(pytester: pytest.Pytester, name: str, text: str) -> None:
    path = pytester.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def ids(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("features/") and "::" in line]


def test_node_ids_name_feature_and_scenario(rack: pytest.Pytester) -> None:
    result = rack.runpytest_inprocess("features", "--collect-only", "-q")
    here = "features/phase2_network.feature::"
    assert ids(result) == [
        f"{here}One fails: node1",
        f"{here}node2 fails",
        f"{here}node3 fails",
        f"{here}Any node[node2]",
        f"{here}Any node[node3]",
    ]


def test_every_row_is_an_item_of_its_own(rack: pytest.Pytester) -> None:
    result = rack.runpytest_inprocess("features", "-v")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*::node3 fails FAILED*"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "criterion-3"], ["One fails: node1"]),
        (["-m", "slow"], ["Any node[node2]"]),
        (["-m", "phase2 and not (drill or slow)"], ["node2 fails", "node3 fails", "Any node[node3]"]),
        (["-k", "node2 and fails"], ["node2 fails"]),
        (["-k", "One"], ["One fails: node1"]),
    ],
)
def test_tags_and_words_select(rack: pytest.Pytester, arguments: list[str], expected: list[str]) -> None:
    result = rack.runpytest_inprocess("features", "--collect-only", "-q", *arguments)
    assert [name.split("::")[1] for name in ids(result)] == expected


@pytest.mark.parametrize(
    ("node", "count"), [("One fails: node1", 1), ("node2 fails", 1), ("Any node", 2), ("Any node[node3]", 1)]
)
def test_a_node_id_can_be_run_again(rack: pytest.Pytester, node: str, count: int) -> None:
    rack.runpytest_inprocess(f"features/phase2_network.feature::{node}").assert_outcomes(passed=count)


def test_phases_run_in_numeric_order_and_drills_last(rack: pytest.Pytester) -> None:
    names = [
        "phase10_weka.feature",
        "phase11_validation/links.feature",
        "phase11_validation/b2.feature",
        "phase11_validation/b10.feature",
        "phase0_preflight.feature",
        "other.feature",
    ]
    for name in names:
        write(rack, f"features/{name}", "Feature: x\n  Scenario: y\n    Given a rack\n")
    result = rack.runpytest_inprocess("features", "--collect-only", "-q")
    files = list(dict.fromkeys(name.split("::")[0].removeprefix("features/") for name in ids(result)))
    assert files == [
        "phase0_preflight.feature",
        "phase2_network.feature",
        "phase10_weka.feature",
        "other.feature",
        "phase11_validation/b2.feature",
        "phase11_validation/b10.feature",
        "phase11_validation/links.feature",
    ]


def test_junit_names_the_scenario(rack: pytest.Pytester) -> None:
    rack.runpytest_inprocess("features", "--junitxml=out.xml", "-m", "criterion-3")
    text = (rack.path / "out.xml").read_text(encoding="utf-8")
    assert 'name="One fails: node1"' in text
    assert "phase2_network" in text


def test_a_missing_step_stops_the_run_before_it_starts(rack: pytest.Pytester) -> None:
    write(
        rack,
        "features/phase1_x.feature",
        "Feature: x\n  Scenario: y\n    Given a rack\n    When pigs fly\n    Then all but node1 run\n",
    )
    result = rack.runpytest_inprocess("features")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*features/phase1_x.feature:4: When pigs fly", "*no step definition*scenario 'y'*"]
    )


def test_a_step_of_the_wrong_kind_is_missing(rack: pytest.Pytester) -> None:
    write(rack, "features/phase1_x.feature", "Feature: x\n  Scenario: y\n    Then a rack\n")
    result = rack.runpytest_inprocess("features")
    result.stdout.fnmatch_lines(["*features/phase1_x.feature:3: Then a rack"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_sentence_that_two_steps_understand_is_refused(rack: pytest.Pytester) -> None:
    rack.makepyfile(some_steps=STEPS + '\n@when("node1 breaks")\ndef _other(): pass\n')
    result = rack.runpytest_inprocess("features")
    result.stdout.fnmatch_lines(
        ["*features/phase2_network.feature:10: When node1 breaks", "*2 step definitions*"]
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Feature: x\n  Scenario: y\n    Given a rack\n  Scenario: y\n    Given a rack\n",
            "*:4: second scenario*'y'*",
        ),
        ("Feature: x\n", "*no scenario in it*"),
        ("", "*no feature in it*"),
        ("Feature: x\n  Scenario: a::b\n    Given a rack\n", "*'a::b' has '::'*"),
        ("Feature: x\n  Scenario: y\n    Given a rack\n    Wenn a rack\n", "*phase1_x.feature:4:*"),
        (
            "Feature: x\n Scenario Outline: y\n  Given a rack\n  Examples:\n   |n|\n   |1|\n   |1|\n",
            "*2 rows of an outline are both called*",
        ),
        (
            "Feature: x\n  Scenario Outline: y\n    Given a rack\n    Examples:\n      | n |\n",
            "*no row in its examples*",
        ),
    ],
)
def test_a_feature_that_cannot_be_run_is_one_sentence(
    rack: pytest.Pytester, text: str, expected: str
) -> None:
    write(rack, "features/phase1_x.feature", text)
    result = rack.runpytest_inprocess("features", "-q")
    result.stdout.fnmatch_lines([expected])
    assert "Traceback" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_failure_names_the_step_and_hides_the_machinery(rack: pytest.Pytester) -> None:
    result = rack.runpytest_inprocess("features", "-k", "node3 and fails")
    result.stdout.fnmatch_lines(["*features/phase2_network.feature:15: Then all but node1 run"])
    assert "call_fixture_func" not in result.stdout.str()


def test_an_error_for_users_is_its_one_sentence(rack: pytest.Pytester) -> None:
    rack.makepyfile(
        other_steps="""
        from pytest_bdd import then
        class RefusedError(Exception):
            verdict = "failed"
        @then("it is refused")
        def _refused(): raise RefusedError("disk DATA101 carries a partition")
        """
    )
    rack.makeconftest('pytest_plugins = ["steps.collect", "some_steps", "other_steps"]')
    write(rack, "features/phase1_x.feature", "Feature: x\n  Scenario: y\n    Then it is refused\n")
    result = rack.runpytest_inprocess("features/phase1_x.feature")
    result.stdout.fnmatch_lines(
        ["features/phase1_x.feature:3: Then it is refused", "*disk DATA101 carries a partition"]
    )
    assert "def _refused" not in result.stdout.str()


def test_features_elsewhere_are_left_alone(rack: pytest.Pytester) -> None:
    write(rack, "tests/data/x.feature", "Feature: x\n  Scenario: y\n    Given nothing of ours\n")
    assert rack.runpytest_inprocess("tests").ret == pytest.ExitCode.NO_TESTS_COLLECTED
