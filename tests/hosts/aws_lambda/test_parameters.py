"""What template.yaml's parameters make of the function, and which of them it refuses before anything is deployed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.aws_lambda.environment import Environment
from mcp_edge.platform import Silent
from my_server.server import create_server
from tests.support import lambda_artefact as artefact
from tests.support.cloudformation import Evaluated
from tests.support.function_url import DOMAIN

EDGE = "us-east-1"
KEYS = f"ada:{'0' * 64}"
PROVIDER = {"IdentityClientId": "id", "AllowedUsers": "*", "IdentityClientSecretArn": "arn:secret"}
OIDC = {"Identity": "oidc", "IdentityIssuer": "https://id.example", **PROVIDER}
ACCESS = {"TokenIssuer": "team.cloudflareaccess.com", "TokenAudience": "aud"}

WITH_DOMAIN = {"Keys": KEYS, "DomainName": "mcp.example.com", "CertificateArn": "arn:certificate"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return artefact.template()


def start(stack: Evaluated) -> None:
    """Make the app as the function would at its first request.

    Raises:
        ConfigurationError: it would not start.
    """
    variables: dict[str, str] = stack.resource("McpFunction")["Environment"]["Variables"]
    assert variables["MCP_SECRET_KEYS"] == "{{resolve:secretsmanager:SigningSecret:SecretString}}"
    resolved = {**variables, "MCP_SECRET_KEYS": artefact.SECRET, "MCP_STORE": "memory:"}
    Environment(create_server, resolved, Silent(), streaming=False).app_at(DOMAIN)


@pytest.mark.parametrize(
    "parameters",
    [
        {"Auth": "none"},
        {"Keys": KEYS},
        {"Auth": "oauth", "Keys": KEYS},
        {"Auth": "oauth", "Identity": "github", **PROVIDER},
        {"Auth": "oauth", "Identity": "sentry", **PROVIDER},
        {"Auth": "oauth", **OIDC},
        {"Auth": "jwt", "TokenIssuer": "https://as.example"},
        {"Auth": "jwt", "TokenIssuer": "https://as.example", "TokenAudience": "a,b"},
        {"Auth": "access", **ACCESS},
        {"Keys": KEYS, "WarmStart": "snapstart"},
        WITH_DOMAIN,
        {"Keys": KEYS, "PublicUrl": "https://mcp.example.com"},
    ],
)
def test_what_the_rules_let_through_starts(template: dict[str, Any], parameters: dict[str, str]) -> None:
    stack = Evaluated(template, "eu-west-1", **parameters)
    assert stack.refusals() == []
    start(stack)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"Auth": "oauth"},
        {"Auth": "oauth", "Identity": "github", **PROVIDER, "AllowedUsers": ""},
        {"Auth": "oauth", "Identity": "github", **PROVIDER, "IdentityClientId": ""},
        {"Auth": "oauth", **OIDC, "IdentityIssuer": ""},
        {"Auth": "jwt"},
        {"Auth": "access", **ACCESS, "TokenIssuer": ""},
        {"Auth": "access", **ACCESS, "TokenAudience": ""},
    ],
)
def test_what_would_not_start_is_refused_before_it_is_deployed(
    template: dict[str, Any], parameters: dict[str, str]
) -> None:
    stack = Evaluated(template, "eu-west-1", **parameters)
    assert len(stack.refusals()) == 1
    with pytest.raises(ConfigurationError):
        start(stack)


def test_a_misspelt_option_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    variables = {
        "MCP_AUTH": "none",
        "MCP_STORE": "memory:",
        "MCP_SECRET_KEYS": artefact.SECRET,
        "MCP_ALLOWED_HOST": "a",
    }
    Environment(create_server, variables, Silent(), streaming=False)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["MCP_ALLOWED_HOST"]


def test_what_aws_would_refuse_late_is_refused_first(template: dict[str, Any]) -> None:
    late: list[dict[str, str]] = [
        {"WarmStart": "snapstart", "PythonVersion": "3.11"},
        {"DomainName": "mcp.example.com"},
    ]
    for parameters in late:
        assert len(Evaluated(template, "eu-west-1", Keys=KEYS, **parameters).refusals()) == 1


def test_the_function_may_do_what_it_does_to_its_table_and_nothing_else(template: dict[str, Any]) -> None:
    folder = artefact.ROOT / "src" / "mcp_edge" / "storage"
    source = (folder / "dynamodb.py").read_text() + (folder / "dynamodb_table.py").read_text()
    done = set(re.findall(r'\b(?:call|write)\(\s*"([A-Za-z]+)"', source)) - {
        "CreateTable",
        "DescribeTable",
        "UpdateTimeToLive",
    }
    statements = Evaluated(template, "eu-west-1").resource("Role")["Policies"][0]["PolicyDocument"]["Statement"]
    assert [(said["Resource"], set(said["Action"])) for said in statements] == [
        ({"Fn::GetAtt": ["Table", "Arn"]}, {f"dynamodb:{operation}" for operation in done}),
        ({"Fn::GetAtt": ["LogGroup", "Arn"]}, {"logs:CreateLogStream", "logs:PutLogEvents"}),
    ]


def test_a_new_release_changes_the_function_so_that_a_version_of_it_can_be_made(template: dict[str, Any]) -> None:
    """Lambda makes none of what has not changed, and the deploy would fail; nor would a secret be read again."""
    first, second = (
        Evaluated(template, "eu-west-1", Keys=KEYS, Release=release).resource("McpFunction") for release in "12"
    )
    assert (first.pop("AutoPublishCodeSha256"), second.pop("AutoPublishCodeSha256")) == ("1", "2")
    assert first != second


def test_cloudfront_keeps_nothing_not_even_an_error_for_ten_seconds(template: dict[str, Any]) -> None:
    """It would, by default, and the next client's GET would find the session of another one lost."""
    distribution = Evaluated(template, "eu-west-1", **WITH_DOMAIN).resource("Distribution")["DistributionConfig"]
    errors = {each["ErrorCode"]: each["ErrorCachingMinTTL"] for each in distribution["CustomErrorResponses"]}
    assert errors == dict.fromkeys((400, 403, 404, 405, 414, 500, 501, 502, 503, 504), 0)
    caching_disabled = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    assert distribution["DefaultCacheBehavior"]["CachePolicyId"] == caching_disabled
    assert Evaluated(template, "eu-west-1", Keys=KEYS).resource("Distribution") is None


def test_behind_cloudfront_the_challenge_has_its_name_again(template: dict[str, Any]) -> None:
    """By an origin's response: CloudFront calls nobody for a viewer's response from 400 on."""
    stack = Evaluated(template, EDGE, **WITH_DOMAIN)
    behaviour = stack.resource("Distribution")["DistributionConfig"]["DefaultCacheBehavior"]
    found = [{"EventType": "origin-response", "LambdaFunctionARN": {"Ref": "EdgeVersion"}}]
    assert behaviour["LambdaFunctionAssociations"] == found
    code: dict[str, Any] = {}
    exec(stack.resource("EdgeFunction")["Code"]["ZipFile"], code)
    kept = [{"key": "Content-Type", "value": "application/json"}]
    challenge = 'Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'

    def passed(status: str, headers: dict[str, Any]) -> dict[str, Any]:
        return code["handler"]({"Records": [{"cf": {"response": {"status": status, "headers": headers}}}]}, None)

    renamed = [{"key": "x-amzn-Remapped-www-authenticate", "value": challenge}]
    assert passed("401", {"content-type": kept, "x-amzn-remapped-www-authenticate": renamed}) == {
        "status": "401",
        "headers": {"content-type": kept, "www-authenticate": [{"key": "WWW-Authenticate", "value": challenge}]},
    }
    assert passed("200", {"content-type": kept}) == {"status": "200", "headers": {"content-type": kept}}


def test_where_lambda_at_edge_cannot_be_made_the_domain_is_served_without_it(template: dict[str, Any]) -> None:
    stack = Evaluated(template, "eu-west-1", **WITH_DOMAIN)
    assert [stack.resource(name) for name in ("EdgeRole", "EdgeFunction", "EdgeVersion")] == [None] * 3
    behaviour = stack.resource("Distribution")["DistributionConfig"]["DefaultCacheBehavior"]
    assert "LambdaFunctionAssociations" not in behaviour
