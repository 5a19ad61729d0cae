"""What CloudFormation makes of a template's parameters: its rules, conditions and properties, nothing deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

NOTHING = object()
"""`AWS::NoValue`."""


class Evaluated:
    """`template` (its intrinsics written out) with these parameters. What a resource would return stays a reference."""

    def __init__(self, template: Mapping[str, Any], region: str, **parameters: str) -> None:
        self._template = template
        defaults = {name: str(given.get("Default", "")) for name, given in template["Parameters"].items()}
        assert parameters.keys() <= defaults.keys()
        self._parameters = {**defaults, **parameters, "AWS::Region": region, "AWS::StackName": "mcp"}

    def refusals(self) -> list[str]:
        """What the rules say against the parameters."""
        rules: dict[str, Any] = self._template["Rules"]
        asserted = [a for rule in rules.values() if self.value(rule["RuleCondition"]) for a in rule["Assertions"]]
        return [each["AssertDescription"] for each in asserted if not self.value(each["Assert"])]

    def resource(self, name: str) -> Any:
        """A resource's properties; None where its condition does not hold."""
        resource = self._template["Resources"][name]
        if "Condition" in resource and not self._condition(resource["Condition"]):
            return None
        return self.value(resource["Properties"])

    def value(self, node: Any) -> Any:
        """`node` with its intrinsics carried out."""
        if isinstance(node, list):
            found = [self.value(each) for each in cast("list[Any]", node)]
            return [each for each in found if each is not NOTHING]
        if not isinstance(node, dict):
            return node
        given = cast("dict[str, Any]", node)
        if len(given) == 1:
            ((name, argument),) = given.items()
            known = getattr(self, "_" + name.removeprefix("Fn::").lower(), None)
            if known is not None:
                return known(argument)
        found = {name: self.value(each) for name, each in given.items()}
        return {name: each for name, each in found.items() if each is not NOTHING}

    def _ref(self, name: str) -> Any:
        return NOTHING if name == "AWS::NoValue" else self._parameters.get(name, {"Ref": name})

    def _condition(self, name: str) -> bool:
        return self.value(self._template["Conditions"][name])

    def _equals(self, pair: list[Any]) -> bool:
        first, second = pair
        return str(self.value(first)) == str(self.value(second))

    def _not(self, one: list[Any]) -> bool:
        return not self.value(one[0])

    def _and(self, all_: list[Any]) -> bool:
        return all(self.value(each) for each in all_)

    def _or(self, any_: list[Any]) -> bool:
        return any(self.value(each) for each in any_)

    def _if(self, three: list[Any]) -> Any:
        condition, then, otherwise = three
        return self.value(then if self._condition(condition) else otherwise)

    def _sub(self, text: str) -> str:
        return re.sub(r"\$\{([A-Za-z:.]+)\}", lambda m: self._parameters.get(m[1], m[1]), text)
