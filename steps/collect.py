"""pytest plugin that collects `.feature` files themselves: `pytest features/` with node ids like
`features/phase2_network.feature::A link fails`.

Scenario outlines give one item per row, tags become markers, phases run in numeric order with the drills of
phase 11 last. Steps come from the modules that conftest.py loads as plugins; a step without a definition, or
with two, is a collection error that names file and line, because a drill must not find that out half way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_bdd import scenario
from pytest_bdd.parser import Step
from pytest_bdd.scenario import find_fixturedefs_for_step

from reports.catalogue import Case, CatalogueError, order, read


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> FeatureFile | None:
    if file_path.suffix != ".feature" or not file_path.is_relative_to(parent.config.rootpath / "features"):
        return None
    file: FeatureFile = FeatureFile.from_parent(parent, path=file_path)
    return file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put scenarios in the order of the phases; other tests keep their places before them."""
    others = [item for item in items if not isinstance(item, ScenarioItem)]
    scenarios = [(order(item.case.feature), item) for item in items if isinstance(item, ScenarioItem)]
    # Stable: inside a file the order written stays.
    scenarios.sort(key=lambda pair: pair[0])
    items[:] = [*others, *(item for _, item in scenarios)]


class FeatureFile(pytest.File):
    """One `.feature` file."""

    def collect(self) -> Iterator[ScenarioItem]:
        try:
            cases = read(self.path, self.config.rootpath)
        except CatalogueError as error:
            raise self.CollectError(str(error)) from error
        for tag in sorted({tag for case in cases for tag in case.tags}):
            self.config.addinivalue_line("markers", f"{tag}: tag of scenarios in {cases[0].feature}")
        items = [self._item(case) for case in cases]
        problems = [problem for item in items for problem in item.problems()]
        if problems:
            raise self.CollectError("\n".join(dict.fromkeys(problems)))
        yield from items

    def _item(self, case: Case) -> ScenarioItem:
        run = _function(self.path, case)
        for tag in case.tags:
            self.ihook.pytest_bdd_apply_tag(tag=tag, function=run)
        item: ScenarioItem = ScenarioItem.from_parent(self, name=case.name, callobj=run)
        item.case = case
        return item


def _function(path: Path, case: Case) -> Callable[[pytest.FixtureRequest], None]:
    @scenario(path.name, case.template.name, features_base_dir=str(path.parent))
    def bound() -> None:
        """The steps do it all."""

    def run(request: pytest.FixtureRequest) -> None:
        __tracebackhide__ = True
        bound(request, dict(case.row))

    return run


def _internal(path: Path) -> bool:
    """Whether a frame of a traceback lies between sentence and step, where there is nothing to see."""
    return path == Path(__file__) or not {"_pytest", "pytest_bdd", "pluggy"}.isdisjoint(path.parts)


class ScenarioItem(pytest.Function):
    """One scenario, or one row of an outline."""

    case: Case
    step: Step | None = None
    """The step that runs or ran last, for the message of a failure."""

    def problems(self) -> Iterator[str]:
        """Sentences about steps that no definition, or more than one, can run."""
        manager = self.config.pluginmanager.get_plugin("funcmanage")
        assert manager is not None, "pytest registers its fixture manager before it collects"
        for step in self.case.template.render(self.case.row).steps:
            where = self._place(step)
            found = list(find_fixturedefs_for_step(step, manager, self))
            if not found:
                yield f"{where}\n    no step definition for this sentence (scenario {self.case.name!r})"
            elif len(found) > 1:
                names = ", ".join(sorted(definition.argname.split("_", 2)[-1] for definition in found))
                yield f"{where}\n    {len(found)} step definitions match this sentence: {names}"

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.case.line - 1, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any) -> Any:
        """Name the step; an error meant for users is its one sentence, anything else keeps its traceback."""
        where = "" if self.step is None else self._place(self.step)
        if hasattr(type(excinfo.value), "verdict"):
            return "\n".join(part for part in (where, f"    {excinfo.value}") if part)
        own = excinfo.traceback.filter(lambda entry: not _internal(Path(entry.path)))
        excinfo.traceback = own or excinfo.traceback
        shown = super().repr_failure(excinfo, *args)
        if where and hasattr(shown, "addsection"):
            shown.addsection("step", where)
        return shown

    def _place(self, step: Step) -> str:
        return f"{self.case.feature}:{step.line_number}: {step.keyword.strip()} {step.name}"


def pytest_bdd_before_step(request: pytest.FixtureRequest, step: Step) -> None:
    if isinstance(request.node, ScenarioItem):
        request.node.step = step
