"""Questions begun ahead: side by side, in turn where one would disturb another, each answer given once."""

from __future__ import annotations

import threading

import pytest

from cluster.errors import UnreachableError
from steps.ahead import Ahead

LONG_S = 30


def test_what_was_not_begun_is_asked_now() -> None:
    assert Ahead().take("cables", lambda: 3) == 3


def test_two_questions_wait_at_the_same_time_and_are_asked_once() -> None:
    both = threading.Barrier(2, timeout=LONG_S)  # breaks where one waits for the other's end
    ahead = Ahead()
    ahead.begin("one", both.wait)
    ahead.begin("two", both.wait)
    assert {ahead.take("one", lambda: 9), ahead.take("two", lambda: 9)} == {0, 1}
    assert ahead.take("one", lambda: 9) == 9, "an answer is given once; then it is asked anew"
    ahead.close()


def test_who_peeks_leaves_the_answer_to_be_taken() -> None:
    ahead = Ahead()
    assert ahead.peek("disks", lambda: 1) == 1, "not begun: asked now"
    ahead.begin("disks", lambda: 2)
    assert [ahead.peek("disks", lambda: 1), ahead.take("disks", lambda: 1)] == [2, 2]
    ahead.close()


def test_what_would_disturb_waits_for_the_end_of_what_it_disturbs_even_if_that_fails() -> None:
    free, order = threading.Event(), list[str]()

    def first() -> None:
        assert free.wait(LONG_S)
        order.append("first")
        raise UnreachableError("node1 did not answer")

    ahead = Ahead()
    ahead.begin("first", first)
    ahead.begin("second", lambda: order.append("second"), after=("first", "never begun"))
    free.set()
    ahead.take("second", lambda: None)
    assert order == ["first", "second"]
    with pytest.raises(UnreachableError, match="node1 did not answer"):
        ahead.take("first", lambda: None)
    ahead.close()


def test_who_measures_waits_until_nothing_is_under_way() -> None:
    begun, free, order = threading.Event(), threading.Event(), list[str]()

    def look() -> str:
        begun.set()
        assert free.wait(LONG_S)
        order.append("ended")
        return "seen"

    ahead = Ahead()
    ahead.begin("strangers", look)
    assert begun.wait(LONG_S)
    threading.Timer(0.1, free.set).start()
    ahead.quiet()
    order.append("measured")
    assert order == ["ended", "measured"]
    assert ahead.take("strangers", lambda: "asked anew") == "seen"
    ahead.close()


def test_closing_waits_for_what_is_under_way() -> None:
    begun, free, cleaned = threading.Event(), threading.Event(), list[str]()

    def look() -> None:
        begun.set()
        assert free.wait(LONG_S)
        cleaned.append("cleaned")

    ahead = Ahead()
    ahead.begin("isolation", look)
    assert begun.wait(LONG_S)
    threading.Timer(0.1, free.set).start()
    ahead.close()
    assert cleaned == ["cleaned"]
